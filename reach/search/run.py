"""`reach search` without its command line: a model in, the files of a run folder out."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from reach.demo import DEMO_NAME, demo_model
from reach.heads.adapter import CONFIG as ADAPTER_CONFIG
from reach.heads.hub import CachedFiles
from reach.runs.environment import hardware, package_versions, peak_memory_bytes
from reach.runs.folder import RunFolder
from reach.runs.loading import is_at_hand
from reach.runs.lock import locked
from reach.scan.settings import ScanSettings
from reach.scan_command import ScanOrder, scan_to_folder
from reach.search.budget import BatchSize, Checks, Clock, Deadline, Pace, Timetable
from reach.search.guided import require_nanogcg
from reach.search.ledger import Ledger
from reach.search.levels import LEVELS
from reach.search.live import LiveModel, choose_threads, load_live_model
from reach.search.options import SearchSettings
from reach.search.phases import plan, run_phase
from reach.search.prompts import FORMS, Prompts, Repeated, RoundTrip, load_tokenizer, repeat_test
from reach.search.replay import ReplayReport, Replays
from reach.search.starts import Aims, Bank, HeadVerdicts, read_verdicts
from reach.search.stored import (
    SCHEMA_VERSION,
    WITNESSES,
    build_table,
    funnel,
    prompt_texts,
    read_state,
    refuse_overwriting,
    write_nearest,
    write_result,
    write_state,
    write_witnesses,
)
from reach.search.strength import credit, measure_strength, with_unfound
from reach.token_choice import choose_tokens
from reach.vocabulary import Vocabulary, load_vocabulary
from solvers.errors import BadInput

Say = Callable[[str, int, int], None]
"""Told what is being done, hits so far, and inputs tried so far."""


def silent(what: str, hits: int, inputs: int) -> None:
    """For those who do not want to know."""
    del what, hits, inputs


_CHECKPOINT_SECONDS, _CHECKPOINTS = 20.0, 20.0
"""A state is saved after so many seconds, but not before the last time has become a small part of them."""
_FOR_SINGLE = 0.5


@dataclass(frozen=True)
class SearchOrder:
    """What the record says of the question.

    Attributes:
        name: the model as the user named it.
        loading: arguments with which the same model is found again.
        tokens: the `--tokens` text, or none for all.
        warnings: one line each.
    """

    name: str
    loading: dict[str, Any]
    tokens: str | None = None
    warnings: tuple[str, ...] = ()


def search_to_folder(
    live: LiveModel,
    trip: RoundTrip,
    vocabulary: Vocabulary,
    verdicts: HeadVerdicts | None,
    out: Path,
    settings: SearchSettings,
    order: SearchOrder,
    *,
    chosen: Int[np.ndarray, " n"] | None = None,
    resume: bool = False,
    force: bool = False,
    say: Say = silent,
    clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """Search, replay, measure how strong the search was, and write the result, all within the budget.

    Args:
        live, trip, vocabulary: the model, its tokenizer and the names of its tokens.
        verdicts: of the head; none where there are none.
        out: the run folder.
        settings: the search's.
        order: what the record says of the question.
        chosen: tokens to look for; none means all.
        resume: go on with an unfinished search.
        force: overwrite an earlier one.
        say: told what goes on.
        clock: seconds from any moment on.

    Returns:
        The record that was written. Its `contradictions` name tokens that the head proves unspeakable and an input
        brought up: there must be none.

    Raises:
        BadInput: the folder is taken, a length is beyond the model's positions, or memory does not suffice.
    """
    refuse_overwriting(out, resume=resume, force=force)
    for length in settings.lengths:
        live.check_length(length)
    torch.set_num_threads(settings.jobs)
    live.work_in(settings.dtype)
    settings = replace(settings, min_margin=settings.min_margin or live.rounding)
    ledger = Ledger(live.v, _wanted(live.v, verdicts, chosen), clock=clock)
    asked = {
        "model": order.name, "fingerprint": _fingerprint(live), "settings": settings.lasting(), "tokens": order.tokens
    }  # fmt: skip
    done: list[str] = _take_up(out, ledger, asked) if resume else []
    checks = Checks(ledger)
    times = Timetable(settings, ledger, checks)
    size = BatchSize(settings.batch, settings.device, live.v, Pace(times.step))
    prompts = Prompts(live, ledger, trip, Bank(), size, settings.min_margin or 0.0)
    unspeakable = np.zeros(live.v, dtype=bool) if verdicts is None else verdicts.unspeakable
    replays = Replays(live, trip, ledger, checks, unspeakable)
    incomplete = _search(prompts, settings, verdicts, out, asked, done, times, checks, replays, say)
    looked = ledger.seconds
    repeated = _ask_again(prompts, settings, times, say)
    searched = ledger.seconds
    say("replaying witnesses", ledger.hits, sum(ledger.inputs.values()))
    between = replays.seconds
    replays.finish(times.replay)
    levels = [level for level in settings.levels if level != "text" or trip.tokenizer is not None]
    strength = None
    if settings.strength > 0:
        deadline = times.measure(all_tried=not incomplete)
        strength = _strength(prompts, settings, verdicts, levels, replays, deadline, times.last, say)
    measured, report = ledger.seconds, replays.report
    contradictions = _contradictions(ledger, unspeakable)
    texts = prompt_texts(ledger, trip)
    write_witnesses(out / WITNESSES, ledger, texts)
    write_nearest(out / WITNESSES, ledger, live.rows)
    asked_mask = np.zeros(live.v, dtype=bool)
    asked_mask[np.arange(live.v) if chosen is None else chosen] = True
    table = build_table(ledger, vocabulary, verdicts, asked_mask, levels, report, repeated)
    record = {
        "schema": SCHEMA_VERSION,
        "kind": "search",
        "model": order.name,
        "loading": order.loading,
        **{name: asked[name] for name in ("fingerprint", "tokens")},
        "v": live.v,
        "d": live.rows.shape[1],
        "dtype": str(live.dtype).removeprefix("torch."),
        "fixed": {"before": live.before, "after": live.after},
        "norm_range": [live.range.low, live.range.high],
        "levels": levels,
        "asked": int(asked_mask.sum()),
        "funnel": funnel(ledger, verdicts, asked_mask, levels),
        "contradictions": contradictions,
        "replay": _replay_record(report, replays.seconds),
        "strength": strength,
        "curve": ledger.curve,
        "inputs": ledger.inputs,
        "attempts": {
            level: {"tries": int(ledger.tries[level].sum()), "wins": int(ledger.wins[level].sum())}
            for level in levels
        },
        "repeat": _repeat_record(repeated, ledger.wanted),
        "incomplete": incomplete,
        "batch_shrunk": size.shrunk,
        "settings": settings.record(),
        "warnings": list(order.warnings),
        "command": ["reach", *sys.argv[1:]],
        "versions": package_versions() | package_versions(("transformers",)),
        "hardware": hardware(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "search_seconds": searched,
        "seconds": ledger.seconds,
        "parts": {
            "search": looked - between,
            "repeat": searched - looked,
            "replay": replays.seconds,
            "measuring": measured - searched - (replays.seconds - between),
            "writing": ledger.seconds - measured,
        },
        "peak_memory_bytes": peak_memory_bytes(),
    }
    write_result(out, record, table)
    return record


def _wanted(v: int, verdicts: HeadVerdicts | None, chosen: Int[np.ndarray, " n"] | None) -> np.ndarray:
    wanted = np.zeros(v, dtype=bool)
    wanted[np.arange(v) if chosen is None else chosen] = True
    if verdicts is not None:
        if len(verdicts.unspeakable) != v:
            raise BadInput(f"the scan has {len(verdicts.unspeakable)} tokens, but the live model has {v} logits")
        wanted &= ~verdicts.unspeakable
    return wanted


def _fingerprint(live: LiveModel) -> str:
    """Of what the search reads and writes: enough to tell one model from another."""
    import hashlib

    output = live.output_rows()
    parts = [live.rows] if output is None else [live.rows, output[0]]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _take_up(out: Path, ledger: Ledger, asked: dict[str, Any]) -> list[str]:
    state = read_state(out, ledger)
    for key, words in (("fingerprint", "of another model"), ("settings", "with other settings"),
                       ("tokens", "for other --tokens")):  # fmt: skip
        before = state["asked"].get(key)
        if before != _as_json(asked[key]):
            raise BadInput(f"{out}: the unfinished search is {words}; resume with the same, or --force a new one")
    return list(state["done"])


def _as_json(value: Any) -> Any:
    import json

    return json.loads(json.dumps(value))


def _search(
    prompts: Prompts,
    settings: SearchSettings,
    verdicts: HeadVerdicts | None,
    out: Path,
    asked: dict[str, Any],
    done: list[str],
    times: Timetable,
    checks: Checks,
    replays: Replays,
    say: Say,
) -> list[str]:
    """All phases; returns the names of those that time did not suffice for."""
    ledger = prompts.ledger
    phases = plan(settings, text=prompts.trip.tokenizer is not None)
    aims = _aims(prompts, verdicts)
    cut: list[str] = []
    saved, pause = ledger.clock(), _CHECKPOINT_SECONDS

    def save() -> None:
        nonlocal saved, pause
        began, kept = ledger.clock(), ledger.kept
        write_state(out, ledger, {"asked": asked, "done": done})
        saved = ledger.clock()
        checks.written(kept, saved - began)
        pause = max(_CHECKPOINT_SECONDS, _CHECKPOINTS * (saved - began))

    for number, phase in enumerate(phases):
        # The bank of starting points is no part of a saved state: cheap to fill again.
        if phase.name in done and phase.kind not in ("single", "sampled"):
            continue
        last = 0.0

        def progress(phase: Any = phase) -> None:
            nonlocal last
            now = ledger.clock()
            if now - last > 0.25:
                last = now
                say(phase.name, ledger.hits, sum(ledger.inputs.values()))
                how = settings.optimiser_at(phase.level) if phase.kind == "optimised" else phase.kind
                ledger.mark(phase.level, phase.length, how)
            if now - saved > pause:
                save()

        # Single tokens cost little and bring most; all others share alike.
        mine = times.search.part(_FOR_SINGLE if phase.kind == "single" else 1 / (len(phases) - number))
        try:
            progress()
            batch = min(64, max(1, prompts.size.at(phase.length) // 4))
            if not mine():
                choose_threads(prompts.live, phase.length, batch, settings.jobs)
            was_cut = run_phase(phase, prompts, settings, aims, mine, progress)
            replays.catch_up(times.catch_up())
        except KeyboardInterrupt:
            save()
            raise
        if was_cut:
            cut.append(phase.name)
        elif phase.name not in done:
            done.append(phase.name)
        last = 0.0
        progress()
    save()
    return cut


def _aims(prompts: Prompts, verdicts: HeadVerdicts | None) -> Aims | None:
    return None if verdicts is None or verdicts.aims is None else verdicts.aims.to(prompts.live.device)


def _ask_again(prompts: Prompts, settings: SearchSettings, times: Timetable, say: Say) -> Repeated | None:
    if not settings.repeat:
        return None
    ledger = prompts.ledger
    say("asking the model to repeat", ledger.hits, sum(ledger.inputs.values()))
    tokens = np.random.default_rng(settings.seed).permutation(np.flatnonzero(ledger.wanted))
    return repeat_test(prompts, tokens, times.repeat())


def _strength(
    prompts: Prompts,
    settings: SearchSettings,
    verdicts: HeadVerdicts | None,
    levels: list[str],
    replays: Replays,
    deadline: Deadline,
    last: Deadline,
    say: Say,
) -> dict[str, Any]:
    """Measure the search, then count and replay what the measuring itself has found."""
    ledger = prompts.ledger
    hits = ledger.hits

    def tell(what: str) -> None:
        say(what, hits, sum(ledger.inputs.values()))

    record, finds = measure_strength(prompts, settings, _aims(prompts, verdicts), levels, tell, deadline)
    credit(prompts, finds)
    replays.finish(last)
    return with_unfound(record, prompts, levels) | {"credited": ledger.hits - hits}


def _contradictions(ledger: Ledger, unspeakable: np.ndarray) -> list[dict[str, Any]]:
    """Tokens that the head proves unspeakable and that came up all the same."""
    return [
        {"token_id": int(token), "level": level}
        for level in LEVELS
        for token in np.flatnonzero(ledger.found[level] & unspeakable)
    ]


def _replay_record(report: ReplayReport, seconds: float) -> dict[str, Any]:
    return {
        "replayed": report.replayed,
        "failed": report.failed,
        "own_failed": report.own_failed,
        "unchecked": report.unchecked,
        "seconds": seconds,
    }


def _repeat_record(repeated: Repeated | None, wanted: np.ndarray) -> dict[str, Any] | None:
    if repeated is None:
        return None
    asked = repeated.asked & wanted
    every = [repeated.top[name] for name in repeated.top]
    return {
        "forms": [{"name": form.name, "text": form.text} for form in FORMS if form.name in repeated.top],
        "skipped": repeated.skipped,
        "asked": int(asked.sum()),
        "top": {name: int((repeated.top[name] & asked).sum()) for name in repeated.top},
        "failed_all": int((asked & ~np.any(every, axis=0)).sum()) if every else None,
    }


# --- from a model's name --------------------------------------------------------------------------------------------

LoadHead = Callable[..., Any]


def run_search(
    name: str,
    loading: dict[str, Any],
    load_head: LoadHead,
    out: Path,
    settings: SearchSettings,
    *,
    tokens: str | None = None,
    resume: bool = False,
    force: bool = False,
    say: Say = silent,
    fetch: bool = True,
) -> dict[str, Any]:
    """Load everything and search.

    Args:
        name: the model as the user named it.
        loading: what finds it again.
        load_head: loads the head that `loading` describes; with `fetch=False` it asks no Hub.
        out: the run folder.
        settings: the search's.
        tokens: the choice of tokens as text.
        resume: go on with an unfinished search.
        force: overwrite an earlier one.
        say: told what goes on.
        fetch: whether the Hub may be asked. If not, a Hub id finds what is in the Hub cache.

    Raises:
        BadInput, MissingExtra: as one line for the user; another process holding the folder is one reason.
    """
    with locked(out):
        refuse_overwriting(out, resume=resume, force=force)
        if settings.guided == "nanogcg":
            require_nanogcg()
        folder, revision = _place(loading, fetch)
        if Path(folder).is_file():
            raise BadInput(f"{name}: a bare head has no inputs to search; give a model folder or a Hub id")
        if loading.get("adapter") == "merge":
            raise BadInput(
                f"{name}: a search runs the model as it is stored, without the adapter beside it: merge it into the "
                "model's files first, or say --adapter ignore"
            )
        say("loading", 0, 0)
        with _hint_at_fetching(loading, fetch):
            model = load_live_model(folder, name, revision=revision)
        notes: list[str] = []
        tokenizer = load_tokenizer(folder, revision, notes)
        if (Path(folder) / ADAPTER_CONFIG).is_file():
            notes.append(f"{folder}/{ADAPTER_CONFIG}: the search runs the model alone, without the adapter beside it")
        trip = RoundTrip(tokenizer, settings.prefix, settings.suffix, bos=settings.bos)
        live = LiveModel(model, name, trip.before, trip.after, settings.device)
        for length in settings.lengths:
            live.check_length(length)
        say("head verdicts", 0, 0)
        load = partial(load_head, fetch=fetch)
        verdicts, head_folder, more = _head_verdicts(name, loading, load, out, settings, live.v)
        vocabulary = load_vocabulary(head_folder or (Path(folder) if Path(folder).is_dir() else None), live.v)
        chosen = None if tokens is None else choose_tokens(tokens, vocabulary, live.v)
        order = SearchOrder(name, loading, tokens, tuple(notes + more + vocabulary.warnings))
        return search_to_folder(
            live, trip, vocabulary, verdicts, out, settings, order, chosen=chosen, resume=resume, force=force, say=say
        )


def _place(loading: dict[str, Any], fetch: bool) -> tuple[str, str | None]:
    """Folder or Hub id of the model, and its revision; a folder wherever the Hub may not be asked."""
    model, revision = str(loading["model"]), loading.get("revision")
    if model == DEMO_NAME:
        return str(demo_model()), None
    if fetch or is_at_hand(model):
        return model, revision
    return str(CachedFiles(model, revision).folder), None


@contextmanager
def _hint_at_fetching(loading: dict[str, Any], fetch: bool) -> Iterator[None]:
    """Where only the Hub cache was looked at, a complaint says so."""
    try:
        yield
    except BadInput as error:
        if fetch or is_at_hand(str(loading["model"])):
            raise
        more = "only its files in the Hub cache were looked at: name the model on the command line to fetch more"
        raise BadInput(f"{error}; {more}") from None


def _head_verdicts(
    name: str, loading: dict[str, Any], load_head: LoadHead, out: Path, settings: SearchSettings, v: int
) -> tuple[HeadVerdicts | None, Path | None, list[str]]:
    """The verdicts of the scan in the folder, which is made where there is none yet."""
    try:
        head = load_head(loading)
    except BadInput as error:
        # The live model may be of a kind whose head is not known yet: it can be searched all the same.
        return None, None, [f"no head verdicts, nothing is known to be out of reach: {' '.join(str(error).split())}"]
    if head.v != v:
        raise BadInput(f"{name}: the head has {head.v} rows, but the live model {v} logits")
    problem = head.problem()
    if (out / "manifest.json").is_file():
        run = RunFolder.open(out, finished=False)
        if run.manifest.get("status") == "finished":
            return read_verdicts(run, problem.fingerprint, head), head.folder, [*head.notes]
    vocabulary = load_vocabulary(head.folder, head.v)
    order = ScanOrder(name, loading, None, (), (*head.notes, *vocabulary.warnings))
    scanning = ScanSettings(jobs=settings.jobs, device=settings.device)
    resumed = (out / "manifest.json").is_file()
    notes = [*head.notes]
    run = scan_to_folder(
        head, problem, vocabulary, out, scanning, order, resume=resumed, quiet=True, note=notes.append
    )
    return read_verdicts(run, problem.fingerprint, head), head.folder, notes
