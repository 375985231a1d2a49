"""`reach search` without its command line: a model in, the files of a run folder out."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from reach.heads.loading import Loading
from reach.runs.environment import hardware, package_versions, peak_memory_bytes
from reach.search.batching import BatchSize
from reach.search.budget import Checks, Clock, Deadline, Timetable
from reach.search.ledger import Ledger
from reach.search.live import LiveModel
from reach.search.measure import credit, measure_strength, with_unfound
from reach.search.nearest import write_nearest
from reach.search.outcome import build_table, funnel, prompt_texts
from reach.search.pace import Pace
from reach.search.phases import plan, run_phase
from reach.search.prompts import Prompts
from reach.search.repeat import FORMS, Repeated, repeat_test
from reach.search.replay import ReplayReport
from reach.search.replays import Replays
from reach.search.roundtrip import RoundTrip
from reach.search.settings import LEVELS, SearchSettings
from reach.search.starts import Bank
from reach.search.stored import (
    SCHEMA_VERSION,
    WITNESSES,
    read_state,
    refuse_overwriting,
    write_result,
    write_state,
    write_witnesses,
)
from reach.search.threads import choose_threads
from reach.search.verdicts import Aims, HeadVerdicts
from reach.vocabulary import Vocabulary
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
    loading: Loading
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
        "loading": order.loading.record(),
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
