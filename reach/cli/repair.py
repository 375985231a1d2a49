"""`reach repair`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from reach.cli.say import EXIT_CONDITION, beside, note, page_of, say, say_json
from reach.names import command_line
from reach.options import Force, Jobs, NoReport, Option, Options, OutputOptions
from solvers.errors import BadInput


@dataclass(frozen=True)
class RepairOptions(Options):
    """What is to be repaired, and where the result goes."""

    run: Annotated[Path, Option("", "Run folder: a scan of the model.", url="read")]
    out: Annotated[Path | None, Option("--out", "New folder for the repaired model. Must be given.")] = None
    tokens: Annotated[
        str | None,
        Option(
            "--tokens",
            "Tokens to make speakable: ids, ranges 10-20, strings, @file. Default: all that are unspeakable or tied, "
            "if nothing is to be silenced.",
        ),
    ] = None
    silence: Annotated[
        str | None, Option("--silence", "Tokens that are never to win: ids, ranges, strings, @file.")
    ] = None
    margin: Annotated[float, Option("--margin", "By how much the former are to win, logits.", above=0)] = 0.1
    depth: Annotated[float, Option("--depth", "How far the latter are to stay behind, logits.", least=0)] = 0.0
    change: Annotated[
        str,
        Option(
            "--change",
            "What may change: rows and offsets where there are any (all), rows, their lengths (stretch), or offsets.",
            choices=("all", "rows", "stretch", "offsets"),
        ),
    ] = "all"
    untie: Annotated[bool, Option("--untie", "Give a tied head a matrix of its own; the embedding stays.")] = False
    text: Annotated[Path | None, Option("--text", "Text on which to compare the predictions of both models.")] = None
    proof: Annotated[
        Path | None,
        Option("--proof", "Run folder for the scan of the new model. Default: runs/ and its name.", url="write"),
    ] = None
    force: Force = False
    no_report: NoReport = False
    jobs: Jobs = 1


def repair(order: RepairOptions, output: OutputOptions) -> None:
    """Change a model's head as little as needed to make tokens speakable, or to keep them from ever winning."""
    from tqdm import tqdm

    from reach.loading import load_again
    from reach.repair.files import check_new, places_of, write_model
    from reach.repair.parts import Parts
    from reach.repair.run import Asked, Before
    from reach.repair.run import repair as repaired
    from reach.repair.speak import PROVED_TO
    from reach.repair.text import effect_on_text
    from reach.repair.told import repair_lines, repair_record, unproved
    from reach.runs.folder import FILE, PAGE_FILE, RunFolder
    from reach.scan_command import ScanOrder, scan_to_folder
    from reach.scanning.settings import ScanSettings
    from reach.token_choice import choose_tokens
    from reach.vocabulary import load_vocabulary
    from reports.scan_report import write_scan_report

    if order.out is None:
        raise BadInput("--out: name the new folder that the repaired model goes to")
    run, out = RunFolder.open(order.run), order.out
    check_new(out)
    if order.text is not None and not order.text.is_file():
        raise BadInput(f"--text {order.text}: no such file")
    verdicts, head = run.verdicts(), load_again(run.loading)
    problem = head.problem()
    if problem.fingerprint != run.record.fingerprint:
        raise BadInput(f"{order.run} is a scan of another head than {run.record.model} has now: scan it again")
    if order.untie and run.loading.overrides.weight_tensor is not None:
        raise BadInput("--untie: the run names its output matrix by hand (--weight-tensor); scan again without it")
    places = places_of(head, run.loading.overrides, untie=order.untie)
    place = order.proof or Path("runs") / out.name
    if (place / FILE).exists() and not order.force:
        raise BadInput(
            f"{place}: there is a run already; choose another folder with --proof, or overwrite it with --force"
        )
    vocabulary = head.vocabulary or load_vocabulary(head.folder, head.v)
    none = np.zeros(0, dtype=np.int64)
    silence = none if order.silence is None else choose_tokens(order.silence, vocabulary, head.v, option="--silence")
    if order.tokens is not None:
        speak = choose_tokens(order.tokens, vocabulary, head.v)
    else:
        speak = none if len(silence) else np.union1d(verdicts.ids("unspeakable"), verdicts.ids("tied"))
    if places.tied and not places.untie:
        note("the head is tied: the input embedding changes with it; --untie gives the head a matrix of its own")
    asked = Asked(speak, silence, order.margin, order.depth, Parts(order.change))
    with tqdm(desc="repair", unit="round", disable=output.still, dynamic_ncols=True, delay=0.1) as bar:
        done = repaired(head, asked, Before.of(verdicts, head), jobs=order.jobs, progress=bar.update)
    record = repair_record(asked, done, places.tied, places.untie)
    write_model(done.head, places, out, {"of": run.record.model, **record})
    loading = run.loading.but(model=str(out.resolve()), revision=None)
    new = load_again(loading)
    settings = ScanSettings(margin_gap=PROVED_TO if problem.margin_bounded else None, jobs=order.jobs)
    proof = scan_to_folder(
        new, new.problem(), vocabulary, place, settings,
        ScanOrder(str(out), loading, None, command_line(), (*new.notes, *vocabulary.warnings)),
        force=order.force, quiet=output.still, page=None if order.no_report else PAGE_FILE, note=note,
    )  # fmt: skip
    report, fault = page_of(None if order.no_report else write_scan_report, proof.path)
    after = proof.verdicts()
    effect = None if order.text is None else effect_on_text(places.folder, out, order.text)
    wrong = unproved(asked, done, after)
    if output.as_json:
        told = repair_record(asked, done, places.tied, places.untie, effect)
        say_json({**told, "model": str(out), "proof": str(proof.path), "report": report, "unproved": wrong})
    else:
        say(*repair_lines(asked, done, after, places.tied, places.untie, effect), "")
        say(f"model:  {out}", f"proof:  {proof.path}", *([] if report is None else [f"report: {report}"]))
    if fault is not None:
        raise fault
    if wrong:
        shown = ", ".join(after.label(token) for token in wrong[:10])
        beside(f"the scan of the new model does not prove what was asked of {len(wrong)} tokens: {shown}")
        raise typer.Exit(EXIT_CONDITION)
