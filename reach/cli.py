"""The front door: the `reach` command. The only file that may import everything."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar, cast

import typer
from tqdm import tqdm

from reach.heads.overrides import HeadOverrides
from reach.terminal import HarmlessRecord, harmless
from solvers.errors import BadInput

app = typer.Typer(
    help="Which tokens can a language model never say? A proof for every token of the vocabulary.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

T = TypeVar("T")

EXIT_CONDITION, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130

Model = Annotated[
    str | None, typer.Argument(help="Model folder, bare .npz/.safetensors head, or Hub id. Default: the demo model.")
]
HeadFile = Annotated[
    Path | None, typer.Option("--head", help="A bare head: .npz or .safetensors with W, b, gamma, beta.")
]
DomainText = Annotated[
    str | None, typer.Option("--domain", help="norm, free, ball:R or box:LO,HI. Default: the model's own.")
]
Jobs = Annotated[int | None, typer.Option("--jobs", help="Cores to use. Default: all.")]
Device = Annotated[str, typer.Option("--device", help="cpu or cuda, for the batched stages.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]
Revision = Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit of a Hub model.")]
WeightTensor = Annotated[str | None, typer.Option("--weight-tensor", help="Name of the output matrix.")]
BiasTensor = Annotated[str | None, typer.Option("--bias-tensor", help="Name of the output bias, or none.")]
GammaTensor = Annotated[str | None, typer.Option("--gamma-tensor", help="Name of the norm's scale.")]
BetaTensor = Annotated[str | None, typer.Option("--beta-tensor", help="Name of the norm's shift, or none.")]
Norm = Annotated[str | None, typer.Option("--norm", help="layernorm, rmsnorm, rmsnorm+1 or none.")]
Eps = Annotated[float | None, typer.Option("--eps", help="The norm's eps.")]
AdapterText = Annotated[
    str | None,
    typer.Option("--adapter", help="merge or ignore the adapter beside a model. Default: refuse one on the head."),
]


class _ScanInterrupted(Exception):
    """Ctrl-C during a scan, under a name that typer lets through."""


# typer has had its own copy of click for some time, and does not export this class of it.
_UsageError: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def main(arguments: list[str] | None = None) -> None:
    """Run the command; one clear line and exit code 2 on bad input."""
    given = sys.argv[1:] if arguments is None else arguments
    logging.setLogRecordFactory(HarmlessRecord)
    try:
        code = app(args=given, prog_name="reach", standalone_mode=False)
    except BadInput as error:
        _complain(str(error))
    except _UsageError as error:
        _complain(_usage_line(error, given))
    except (KeyboardInterrupt, _ScanInterrupted, typer.Abort):
        code = EXIT_INTERRUPTED
    if code == EXIT_INTERRUPTED:
        sys.stderr.write(
            "\nreach: interrupted; what was finished is kept, go on with the same command (a scan: with --resume)\n"
        )
    raise SystemExit(code or 0)


def _complain(message: str) -> NoReturn:
    sys.stderr.write("reach: " + harmless(" ".join(message.split())) + "\n")
    raise SystemExit(EXIT_BAD_INPUT) from None


def _usage_line(error: Exception, given: list[str]) -> str:
    """What is wrong with an option or a command, and where to read about it."""
    message = cast(Any, error).format_message().strip().rstrip(".")
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help; empty where rich has printed it
        sys.stderr.write(f"{message}\n" if message else "")
        raise SystemExit(EXIT_BAD_INPUT)
    commands = [command.name for command in app.registered_commands]
    about = f"reach {given[0]}" if given and given[0] in commands else "reach"
    return f"{message[:1].lower()}{message[1:]}{' See' if message.endswith('?') else '; see'} '{about} --help'"


@app.command("scan")
def scan_command(
    model: Model = None,
    out: Annotated[Path | None, typer.Option("--out", help="Run folder. Default: runs/MODEL.")] = None,
    head_file: HeadFile = None,
    domain: DomainText = None,
    tokens: Annotated[
        str | None, typer.Option("--tokens", help="Ids, ranges 10-20, strings, @file; separated by commas.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")] = False,
    force: Force = False,
    exact: Annotated[bool, typer.Option("--exact", help="Raise every verdict to exact evidence.")] = False,
    margin_gap: Annotated[
        float | None, typer.Option("--margin-gap", help="Tighten all margins to this relative gap, such as 0.01.")
    ] = None,
    jobs: Jobs = None,
    device: Device = "cpu",
    tolerance: Annotated[float, typer.Option("--tolerance", help="Relative gap at which a search may stop.")] = 1e-9,
    stage_seconds: Annotated[
        float | None, typer.Option("--stage-seconds", help="Limit for one search stage on one block.")
    ] = None,
    block_tokens: Annotated[int, typer.Option("--block-tokens", help="Tokens per journalled block.")] = 4096,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            help="Exit 1 if there are such tokens: unspeakable,undecided,tied,nearly-never,nearly-never-float32.",
        ),
    ] = None,
    self_check: Annotated[
        bool, typer.Option("--self-check", help="First run the live model and compare it with the head.")
    ] = False,
    revision: Revision = None,
    weight_tensor: WeightTensor = None,
    bias_tensor: BiasTensor = None,
    gamma_tensor: GammaTensor = None,
    beta_tensor: BetaTensor = None,
    norm: Norm = None,
    eps: Eps = None,
    adapter: AdapterText = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Do not write report.html.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Settle every token of a model: speakable with a witness, or unspeakable with a proof."""
    from reach.loading import load_again, what_to_load
    from reach.runs.folder import PAGE_FILE
    from reach.runs.summary import conditions, summary_lines, summary_record
    from reach.scan_command import ScanOrder, scan_to_folder
    from reach.scanning.settings import MARGIN_GAP_UNUSED, ScanSettings, default_jobs
    from reach.token_choice import choose_tokens
    from reach.vocabulary import load_vocabulary
    from reports.scan_report import write_scan_report

    failing = _fail_on(fail_on)
    settings = ScanSettings(
        exact=exact,
        margin_gap=margin_gap,
        tolerance=tolerance,
        stage_seconds=stage_seconds,
        block_tokens=block_tokens,
        jobs=jobs if jobs is not None else default_jobs(),
        device=_device(device),
    )
    overrides = _overrides(weight_tensor, bias_tensor, gamma_tensor, beta_tensor, norm, eps)
    name, loading = what_to_load(
        model, head_file, domain=domain, revision=revision, overrides=overrides, adapter=adapter
    )
    head = load_again(loading)
    problem = head.problem()
    vocabulary = load_vocabulary(head.folder, head.v)
    warnings = [*head.notes, *vocabulary.warnings]
    if margin_gap is not None and not problem.margin_bounded:
        warnings.append(MARGIN_GAP_UNUSED)
    for warning in warnings:
        _note(warning)
    checked = _self_check(head, str(loading.model)) if self_check else None
    out = out if out is not None else Path("runs") / _folder_name(name)
    try:
        run = scan_to_folder(
            head,
            problem,
            vocabulary,
            out,
            settings,
            ScanOrder(name, loading, tokens, ("reach", *sys.argv[1:]), tuple(warnings), checked),
            chosen=None if tokens is None else choose_tokens(tokens, vocabulary, head.v),
            resume=resume,
            force=force,
            quiet=quiet or as_json,
            page=None if no_report else PAGE_FILE,
            note=_note,
        )
    except KeyboardInterrupt:
        raise _ScanInterrupted from None
    report, fault = _page(None if no_report else write_scan_report, run.path)
    verdicts = run.verdicts()
    if as_json:
        _say_json({**summary_record(verdicts), "report": report})
    else:
        _say(*summary_lines(verdicts), "", f"run:    {run.path}", *([] if report is None else [f"report: {report}"]))
    if fault is not None:
        raise fault
    counts = conditions(verdicts.totals)
    if any(counts[condition] for condition in failing):
        raise typer.Exit(EXIT_CONDITION)


@app.command("verify")
def verify_command(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    model: Annotated[
        str | None, typer.Option("--model", help="Where the model is now, if it has moved, or its Hub id.")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Ask for exact evidence everywhere.")] = False,
    domain: Annotated[
        str | None, typer.Option("--domain", help="The domain that the run must be over. Default: what it says.")
    ] = None,
    revision: Revision = None,
    weight_tensor: WeightTensor = None,
    bias_tensor: BiasTensor = None,
    gamma_tensor: GammaTensor = None,
    beta_tensor: BetaTensor = None,
    norm: Norm = None,
    eps: Eps = None,
    adapter: AdapterText = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Prove every verdict of a run again, from its certificates and the model. Uses no solver.

    The options that describe a head say which head is meant; the manifest may describe another than the model's own.
    """
    from reach.heads.adapter import adapter_choice
    from reach.runs.folder import RunFolder
    from reach.verify_command import VerifyOrder, verify_folder

    overrides = _overrides(weight_tensor, bias_tensor, gamma_tensor, beta_tensor, norm, eps).given()
    order = VerifyOrder(model, revision, domain, overrides, adapter_choice(adapter), exact)
    found = verify_folder(RunFolder.open(run), order, quiet=quiet or as_json)
    for note in found.about.head.notes:
        _note(note)
    if as_json:
        _say_json(found.record())
    else:
        _say(*found.lines())
    if not found.ok:
        raise typer.Exit(EXIT_CONDITION)


@app.command("report")
def report_command(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN...", help="Run folder. Several are set side by side.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write. Default: report.html in RUN, or compare.html here.")
    ] = None,
    index: Annotated[
        Path | None, typer.Option("--index", help="Write a start page over all runs in this folder instead.")
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Write a short summary for a model card instead: RUN/report.md.")
    ] = False,
) -> None:
    """Write the HTML report of a run, of several runs side by side, or of a folder of runs."""
    from reports.write import write_reports

    _say(*(str(file) for file in write_reports(runs or [], out, index=index, markdown=markdown)))


@app.command("interference")
def interference_command(
    model: Annotated[
        str | None, typer.Argument(help="As for scan. Default: the model of the run in --out, else the demo model.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Run folder; a scan in it is joined.")] = None,
    head_file: HeadFile = None,
    domain: DomainText = None,
    revision: Revision = None,
    weight_tensor: WeightTensor = None,
    bias_tensor: BiasTensor = None,
    gamma_tensor: GammaTensor = None,
    beta_tensor: BetaTensor = None,
    norm: Norm = None,
    eps: Eps = None,
    adapter: AdapterText = None,
    seeds: Annotated[int, typer.Option("--seeds", help="Random draws of each control; 0 for no controls.")] = 5,
    without: Annotated[
        str | None, typer.Option("--without", help="Leave out blocks,dictionary,reinitialised,controls.")
    ] = None,
    alpha: Annotated[
        str | None, typer.Option("--alpha", help="Exponents of the subspace model, separated by commas.")
    ] = None,
    beside: Annotated[
        list[Path] | None, typer.Option("--beside", help="Measured run of another checkpoint or seed; repeatable.")
    ] = None,
    jobs: Jobs = None,
    force: Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure how crowded the output space is, and what chance would do."""
    from reach.interference.command import InterferenceOrder, interference_to_folder
    from reach.interference.settings import parse_settings
    from reach.interference.summary import summary_lines, summary_record
    from reach.loading import load_again, what_to_load
    from reach.runs.folder import model_of_run
    from reach.scanning.settings import default_jobs
    from reach.vocabulary import load_vocabulary
    from reports.interference_page import write_interference_page

    settings = parse_settings(seeds, without, alpha, default_jobs() if jobs is None else jobs)
    known = model_of_run(out) if model is None and head_file is None else None
    fetch = known is None  # a model that only a run folder names is not fetched
    overrides = _overrides(weight_tensor, bias_tensor, gamma_tensor, beta_tensor, norm, eps)
    name, loading = what_to_load(
        model, head_file, domain=domain, revision=revision, overrides=overrides, adapter=adapter
    )
    if known is not None:
        name, loading = known[0], known[1].asked_anew(loading)
    out = out if out is not None else Path("runs") / _folder_name(name)
    head = load_again(loading, fetch=fetch)
    vocabulary = load_vocabulary(head.folder, head.v)
    order = InterferenceOrder(name, loading, tuple(beside or ()), (*head.notes, *vocabulary.warnings))
    with tqdm(bar_format="{desc}", disable=quiet or as_json, leave=False, delay=0.1) as line:
        record = interference_to_folder(
            head, vocabulary, out, settings, order, force=force,
            say=lambda what: line.set_description_str(harmless(what)),
        )  # fmt: skip
    for warning in record["warnings"]:
        _note(warning)
    page, fault = _page(write_interference_page, out)
    if as_json:
        _say_json({**summary_record(record), "page": page})
    else:
        _say(*summary_lines(record), *([] if page is None else ["", f"page: {page}"]))
    if fault is not None:
        raise fault


@app.command("search")
def search_command(
    model: Annotated[
        str | None,
        typer.Argument(help="Folder or Hub id of a causal model. Default: that of the run, else the demo."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--run", "--out", help="Run folder; scanned first if need be. Default: runs/MODEL.")
    ] = None,
    length: Annotated[str, typer.Option("--length", help="Free positions to try, separated by commas.")] = "1,2,4,8",
    levels: Annotated[
        str | None, typer.Option("--levels", help="Of free,norm,hull,tokens,text. Default: all.")
    ] = None,
    tokens: Annotated[
        str | None, typer.Option("--tokens", help="Ids, ranges 10-20, strings, @file; separated by commas.")
    ] = None,
    budget: Annotated[
        float, typer.Option("--budget", help="Seconds for searching, checking and measuring together.")
    ] = 600.0,
    prefix: Annotated[str, typer.Option("--prefix", help="Fixed text before the free positions.")] = "",
    suffix: Annotated[str, typer.Option("--suffix", help="Fixed text after them.")] = "",
    bos: Annotated[bool, typer.Option("--bos/--no-bos", help="Begin with the tokenizer's own start token.")] = True,
    optimizer: Annotated[str, typer.Option("--optimizer", help="auto, adam, adamw, sgd or lbfgs.")] = "auto",
    loss: Annotated[str, typer.Option("--loss", help="margin or ce.")] = "margin",
    steps: Annotated[int, typer.Option("--steps", help="Of one attempt.")] = 100,
    restarts: Annotated[int, typer.Option("--restarts", help="Attempts per token, level and length.")] = 8,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Relative to the model's own embeddings.")
    ] = None,
    guided: Annotated[
        str, typer.Option("--guided", help="What leads real prompts by gradients: own or nanogcg.")
    ] = "own",
    batch: Annotated[int | None, typer.Option("--batch", help="Targets at once. Default: by memory.")] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="Of the search: float32, bfloat16 or float16.")] = "float32",
    strength: Annotated[
        float, typer.Option("--strength", help="Share of the budget that measures the search itself; 0 for none.")
    ] = 0.25,
    repeat: Annotated[bool, typer.Option("--repeat/--no-repeat", help="Ask the model to repeat each token.")] = True,
    seed: Annotated[int, typer.Option("--seed", help="Of all that is random.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished search.")] = False,
    force: Force = False,
    revision: Revision = None,
    adapter: AdapterText = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Do not write search.html.")] = False,
    jobs: Jobs = None,
    device: Device = "cpu",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Search for inputs: which tokens can the whole model be made to say?"""
    from reach.loading import what_to_load
    from reach.runs.folder import model_of_run
    from reach.scanning.settings import default_jobs
    from reach.search.progress import SearchBar
    from reach.search.settings import SearchSettings, parse_lengths, parse_levels
    from reach.search.start import run_search
    from reach.search.summary import contradiction_line, summary_lines, summary_record
    from reports.search_report import write_search_report

    settings = SearchSettings(
        lengths=parse_lengths(length), levels=parse_levels(levels), budget=budget, steps=steps, restarts=restarts,
        optimiser=optimizer, loss=loss, learning_rate=learning_rate, guided=guided, batch=batch, prefix=prefix,
        suffix=suffix, bos=bos, dtype=dtype, strength=strength, repeat=repeat, seed=seed, device=_device(device),
        jobs=default_jobs() if jobs is None else jobs,
    )  # fmt: skip
    known = model_of_run(out) if model is None else None
    name, loading = known or what_to_load(model, revision=revision, adapter=adapter)
    out = out if out is not None else Path("runs") / _folder_name(name)
    try:
        with SearchBar(quiet=quiet or as_json) as bar:
            record = run_search(
                name, loading, out, settings, tokens=tokens, resume=resume, force=force, say=bar.show,
                fetch=known is None,
            )  # fmt: skip
    except KeyboardInterrupt:
        raise _ScanInterrupted from None
    for warning in record["warnings"]:
        _note(warning)
    page, fault = _page(None if no_report else write_search_report, out)
    if as_json:
        _say_json({**summary_record(record), "page": page})
    else:
        _say(*summary_lines(record), "", f"run: {out}", *([] if page is None else [f"page: {page}"]))
    contradiction = contradiction_line(record)
    if contradiction is not None:
        sys.stderr.write(f"reach: {harmless(contradiction)}\n")
    if fault is not None:
        raise fault
    if contradiction is not None:
        raise typer.Exit(EXIT_CONDITION)


@app.command("diff")
def diff_command(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; each is held against the first.")],
    fail_on_change: Annotated[
        bool, typer.Option("--fail-on-change", help="Exit 1 if a token is in another class.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Which tokens are in another class in another run? Tokens are matched by id, or by string."""
    from reports.diff_lines import diff_lines, diff_record

    record = diff_record(runs)
    if as_json:
        _say_json(record)
    else:
        _say(*diff_lines(record))
    if fail_on_change and any(one["changed"] for one in record["against"]):
        raise typer.Exit(EXIT_CONDITION)


@app.command("solvers")
def solvers_command(as_json: AsJson = False) -> None:
    """List the solver backends: what they can do, their versions, and why one is missing."""
    from reach.compare_command import describe_backends

    rows = describe_backends()
    if as_json:
        _say_json(rows)
        return
    _say(f"{'backend':<23}{'version':<31}{'domains':<17}{'batched':<8}{'device':<11}{'proves no':<10}complete")
    for row in rows:
        if "missing" in row:
            _say(f"{row['name']:<23}missing: {row['missing']}")
        else:
            _say(
                f"{row['name']:<23}{row['version']:<31}{', '.join(row['domains']):<17}{_yes(row['batched']):<8}"
                f"{', '.join(row['devices']):<11}{_yes(row['proves_negative']):<10}{_yes(row['complete'])}"
            )


@app.command("compare-solvers")
def compare_command(
    model: Model = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder; scanned first if need be. Default: runs/MODEL.")
    ] = None,
    head_file: HeadFile = None,
    domain: DomainText = None,
    adapter: AdapterText = None,
    backends: Annotated[
        str | None, typer.Option("--backends", help="Names, separated by commas. Default: all that can do it.")
    ] = None,
    sample: Annotated[int, typer.Option("--sample", help="Tokens that every backend is given.")] = 40,
    seconds: Annotated[
        float, typer.Option("--seconds", help="Budget per token, up to a quarter of --backend-seconds.")
    ] = 5.0,
    iterations: Annotated[
        int | None, typer.Option("--iterations", help="Limit on a backend's own iterations.")
    ] = None,
    tolerance: Annotated[float, typer.Option("--tolerance", help="Asked of every backend.")] = 1e-8,
    backend_seconds: Annotated[
        float,
        typer.Option(
            "--backend-seconds", help="What a backend may spend on the tokens; the strength follows from it."
        ),
    ] = 20.0,
    memory_gib: Annotated[float, typer.Option("--memory-gib", help="A backend that takes more is stopped.")] = 4.0,
    seed: Annotated[int, typer.Option("--seed", help="Of the sample and of all that is random.")] = 0,
    strength: Annotated[
        bool,
        typer.Option("--strength/--no-strength", help="Also detection limits, hidden tokens, controls, domains."),
    ] = True,
    jobs: Jobs = None,
    device: Device = "cpu",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Give the same tokens to every solver backend and let the proofs say which of them was right."""
    from reach.compare.settings import CompareSettings
    from reach.compare.summary import comparison_lines
    from reach.compare_command import choose_backends, compare_solvers
    from reach.loading import load_again, what_to_load
    from reach.runs.lock import locked
    from reach.scan_command import ScanOrder, scan_to_folder
    from reach.scanning.settings import ScanSettings, default_jobs
    from reach.vocabulary import load_vocabulary
    from reports.write import write_reports

    name, loading = what_to_load(model, head_file, domain=domain, adapter=adapter)
    head = load_again(loading)
    problem = head.problem()
    named = None if backends is None else [part.strip() for part in backends.split(",") if part.strip()]
    jobs = jobs if jobs is not None else default_jobs()
    settings = CompareSettings(
        backends=tuple(entry.name for entry in choose_backends(named, problem)),
        sample=sample,
        seconds=seconds,
        iterations=iterations,
        tolerance=tolerance,
        backend_seconds=backend_seconds,
        seed=seed,
        memory_gib=memory_gib,
        device=_device(device),
        jobs=jobs,
        strength=strength,
    )
    if sample > problem.v:
        raise BadInput(f"--sample {sample}: the vocabulary has only {problem.v} tokens")
    out = out if out is not None else Path("runs") / _folder_name(name)
    with locked(out):
        run = _finished_scan(out)
        if run is None:
            vocabulary = load_vocabulary(head.folder, head.v)
            warnings = (*head.notes, *vocabulary.warnings)
            order = ScanOrder(name, loading, None, ("reach", *sys.argv[1:]), warnings)
            scanning = ScanSettings(jobs=jobs, device=settings.device)
            begun = (out / "manifest.json").is_file()
            run = scan_to_folder(
                head, problem, vocabulary, out, scanning, order, resume=begun, quiet=quiet, note=_note
            )
        try:
            result = compare_solvers(run, problem, settings, quiet=quiet or as_json)
        except KeyboardInterrupt:
            raise _ScanInterrupted from None
    # The scan's own page too: it shows the margins of the random control now.
    pages, fault = _written(lambda again: write_reports([run.path], again=again), run.path)
    if as_json:
        _say_json(result)
    else:
        _say(
            *comparison_lines(result), "", f"comparison: {run.path / 'solvers.json'}, {run.path / 'solvers.parquet'}"
        )
        _say(*(f"report: {page}" for page in pages or ()))
    if fault is not None:
        raise fault


def _page(write: Callable[..., Path] | None, run: Path) -> tuple[str | None, BadInput | None]:
    """Write the page of what has just been done, if there is to be one: its place, or why it is not there."""
    if write is None:
        return None, None
    page, fault = _written(lambda again: write(run, again=again), run)
    return None if page is None else str(page), fault


def _written(write: Callable[[str], T], run: Path) -> tuple[T | None, BadInput | None]:
    """Write pages of a run; where that fails the run is finished all the same, and its result is to be said first."""
    from reach.runs.atomic import write_page_of

    try:
        return write(write_page_of(run)), None
    except BadInput as fault:
        return None, fault


def _finished_scan(path: Path) -> Any:
    """The finished scan in a folder, or None where there is none yet."""
    from reach.runs.folder import RunFolder

    if not (path / "manifest.json").is_file():
        return None
    run = RunFolder.open(path, finished=False)
    return run if run.finished else None


def _overrides(
    weight_tensor: str | None,
    bias_tensor: str | None,
    gamma_tensor: str | None,
    beta_tensor: str | None,
    norm: str | None,
    eps: float | None,
) -> HeadOverrides:
    """What was said by hand."""
    return HeadOverrides(weight_tensor, bias_tensor, gamma_tensor, beta_tensor, norm, eps)


def _fail_on(text: str | None) -> list[str]:
    from reach.runs.summary import CONDITIONS

    names = [] if text is None else [part.strip() for part in text.split(",") if part.strip()]
    for name in names:
        if name not in CONDITIONS:
            raise BadInput(f"--fail-on: no verdict {name!r}; there are {', '.join(CONDITIONS)}")
    return names


def _device(name: str) -> str:
    import torch

    if name.split(":", maxsplit=1)[0] not in ("cpu", "cuda"):
        raise BadInput(f"--device: {name!r} is neither cpu nor cuda")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise BadInput("--device cuda: this machine has no usable GPU, or PyTorch was built without CUDA; use cpu")
    return name


def _self_check(head: Any, model: str) -> dict[str, Any]:
    """Compare the head with the live model and go on only if they are one; gives back what a manifest keeps of it."""
    from reach.demo import DEMO_NAME, demo_model
    from reach.heads.self_check import self_check

    report = self_check(head, demo_model() if model == DEMO_NAME else model)
    sys.stderr.write(f"reach: self-check: {harmless(report.sentence)}\n")
    if not report.ok:
        raise BadInput("the self-check failed: the head read from the files is not the live model's, see above")
    return report.record()


def _folder_name(name: str) -> str:
    """A folder name for a model: its last part, with nothing that a file system could object to."""
    stem = Path(name.rstrip("/")).resolve().name if Path(name).exists() else name
    return re.sub(r"[^\w.-]+", "--", stem).strip("-.") or "model"


def _yes(flag: bool) -> str:
    return "yes" if flag else "-"


def _say(*lines: str) -> None:
    """Print lines to stdout, whatever the terminal can encode, and nothing that could disturb it."""
    _write("\n".join(harmless(line) for line in lines))


def _say_json(record: Any) -> None:
    """Print a record as JSON, whose writer leaves nothing but ASCII."""
    _write(json.dumps(record, indent=1, default=str))


def _write(text: str) -> None:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        typer.echo(text.encode(encoding, errors="backslashreplace").decode(encoding))
    except OSError as error:
        # What is left goes nowhere: Python would try again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # of a reader that has seen enough (`| head`)
            from reach.runs.atomic import RUN_AGAIN, why_unwritable

            raise BadInput(f"standard output: cannot be written: {why_unwritable(error, RUN_AGAIN)}") from None


def _note(text: str) -> None:
    """One line beside the result, on stderr."""
    sys.stderr.write(f"reach: note: {harmless(text)}\n")


if __name__ == "__main__":
    main()
