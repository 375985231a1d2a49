"""`reach search` without its command line: a model in, the files of a run folder out."""

from __future__ import annotations

import datetime
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int

from reach.demo import DEMO_NAME, demo_model
from reach.heads.adapter import CONFIG as ADAPTER_CONFIG
from reach.heads.adapter import IGNORE, MERGE
from reach.heads.hub import CachedFiles
from reach.loading import Loading, is_at_hand, load_again
from reach.names import command_line
from reach.runs.environment import hardware, package_versions, peak_memory_bytes
from reach.runs.folder import RunFolder
from reach.runs.lock import locked
from reach.scan_command import ScanOrder, scan_to_folder
from reach.scanning.settings import ScanSettings
from reach.search.budget import BatchSize, Checks, Clock, Deadline, Pace, Timetable
from reach.search.guided import require_nanogcg
from reach.search.ledger import Ledger
from reach.search.live import LiveModel, choose_threads, load_live_model
from reach.search.options import LEVELS, SearchSettings
from reach.search.phases import Phase, plan, run_phase
from reach.search.prompts import Prompts, Repeated, RoundTrip, load_tokenizer, repeat_test
from reach.search.record import (
    WITNESSES,
    Asked,
    Attempted,
    Contradiction,
    Fixed,
    Parts,
    Replayed,
    SearchRecord,
    SearchTable,
    Strength,
)
from reach.search.replay import Replays
from reach.search.starts import Bank, HeadVerdicts, read_verdicts
from reach.search.stored import (
    build_table,
    clear_state,
    funnel,
    read_state,
    refuse_overwriting,
    write_nearest,
    write_state,
    write_witnesses,
)
from reach.search.strength import credit, measure_strength, with_unfound
from reach.studies import Study
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
_SHOWN_SECONDS = 0.25


@dataclass(frozen=True)
class SearchOrder:
    """What the record says of the question.

    Attributes:
        name: the model as the user named it.
        loading: what finds the same model again.
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
) -> SearchRecord:
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
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.jobs)
    try:
        live.work_in(settings.dtype)
        settings = replace(settings, min_margin=settings.min_margin or live.rounding)
        search = _Search(live, trip, verdicts, out, settings, order, chosen, say, clock, resume=resume)
        record, table = search.run(vocabulary)
    finally:
        torch.set_num_threads(threads)
    table.write(out)
    record.write(out)  # makes the result complete
    clear_state(out)
    return record


class _Search:
    """One search, from the question to the record."""

    def __init__(
        self,
        live: LiveModel,
        trip: RoundTrip,
        verdicts: HeadVerdicts | None,
        out: Path,
        settings: SearchSettings,
        order: SearchOrder,
        chosen: Int[np.ndarray, " n"] | None,
        say: Say,
        clock: Clock,
        *,
        resume: bool,
    ) -> None:
        """Args: as `search_to_folder` says."""
        if verdicts is not None and len(verdicts.unspeakable) != live.v:
            raise BadInput(f"the scan has {len(verdicts.unspeakable)} tokens, but the live model has {live.v} logits")
        self._live, self._verdicts, self._out, self._settings = live, verdicts, out, settings
        self._order, self._tell = order, say
        self._unspeakable = np.zeros(live.v, dtype=bool) if verdicts is None else verdicts.unspeakable
        self._asked = np.zeros(live.v, dtype=bool)
        self._asked[slice(None) if chosen is None else chosen] = True
        self._ledger = ledger = Ledger(live.v, self._asked & ~self._unspeakable, clock=clock)
        self._question = Asked(order.name, _fingerprint(live), settings, order.tokens)
        # What an interrupted run has spent counts as spent: before the times are laid down.
        self._done: list[str] = self._taken_up() if resume else []
        self._checks = Checks(ledger)
        self._times = Timetable(settings, ledger, self._checks)
        self._size = BatchSize(settings.batch, settings.device, live.v, Pace(self._times.step))
        self._prompts = Prompts(live, ledger, trip, Bank(), self._size, settings.min_margin or 0.0)
        self._replays = Replays(live, trip, ledger, self._checks, self._unspeakable)
        self._aims = None if verdicts is None or verdicts.aims is None else verdicts.aims.to(live.device)
        self._saved, self._pause = ledger.clock(), _CHECKPOINT_SECONDS
        self._shown = 0.0

    def _say(self, what: str) -> None:
        self._tell(what, self._ledger.hits, sum(self._ledger.inputs.values()))

    def _taken_up(self) -> list[str]:
        """What is done of the unfinished search in the folder; its finds are put into the ledger.

        Raises:
            BadInput: it is damaged, or was asked something else.
        """
        state = read_state(self._out, self._ledger, self._live.rows)
        words = state.asked.differs(self._question)
        if words is not None:
            raise BadInput(
                f"{self._out}: the unfinished search is {words}; resume with the same, or --force a new one"
            )
        return list(state.done)

    def run(self, vocabulary: Vocabulary) -> tuple[SearchRecord, SearchTable]:
        """Search, check, measure; writes witnesses, and returns what the folder is to hold of all else."""
        ledger, replays, trip = self._ledger, self._replays, self._prompts.trip
        incomplete = self._all_phases()
        looked = ledger.seconds
        repeated = self._ask_again()
        searched = ledger.seconds
        self._say("replaying witnesses")
        between = replays.seconds
        replays.finish(self._times.replay)
        levels = [level for level in self._settings.levels if level != "text" or trip.tokenizer is not None]
        strength = self._strength(levels, all_tried=not incomplete) if self._settings.strength > 0 else None
        measured = ledger.seconds
        write_witnesses(self._out / WITNESSES, ledger, trip)
        write_nearest(self._out / WITNESSES, ledger, self._live.rows)
        table = build_table(ledger, vocabulary, self._verdicts, self._asked, levels, replays.report, repeated)
        parts = Parts(
            search=looked - between,
            repeat=searched - looked,
            replay=replays.seconds,
            measuring=measured - searched - (replays.seconds - between),
            writing=ledger.seconds - measured,
        )
        return self._record(levels, strength, repeated, incomplete, searched, parts), table

    # --- searching --------------------------------------------------------------------------------------------------

    def _all_phases(self) -> list[str]:
        """All phases; returns the names of those that time did not suffice for."""
        phases = plan(self._settings, text=self._prompts.trip.tokenizer is not None)
        cut: list[str] = []
        for number, phase in enumerate(phases):
            # The bank of starting points is no part of a saved state: cheap to fill again.
            if phase.name in self._done and phase.kind not in ("single", "sampled"):
                continue
            # Single tokens cost little and bring most; all others share alike.
            share = _FOR_SINGLE if phase.kind == "single" else 1 / (len(phases) - number)
            if self._one_phase(phase, self._times.search.part(share)):
                cut.append(phase.name)
            elif phase.name not in self._done:
                self._done.append(phase.name)
            self._progress(phase, now=True)
        self._save()
        return cut

    def _one_phase(self, phase: Phase, deadline: Deadline) -> bool:
        """Do one phase, and run again what it found; says whether time cut it short."""

        try:
            self._progress(phase, now=True)
            if not deadline():
                batch = min(64, max(1, self._size.at(phase.length) // 4))
                choose_threads(self._live, phase.length, batch, self._settings.jobs)
            was_cut = run_phase(
                phase, self._prompts, self._settings, self._aims, deadline, partial(self._progress, phase)
            )
            self._replays.catch_up(self._times.catch_up())
        except KeyboardInterrupt:
            self._save()
            raise
        return was_cut

    def _progress(self, phase: Phase, *, now: bool = False) -> None:
        """Now and then tell how far a phase has come, mark a point of the curve, and save a state."""
        clock = self._ledger.clock
        if now or clock() - self._shown > _SHOWN_SECONDS:
            self._shown = clock()
            self._say(phase.name)
            how = self._settings.optimiser_at(phase.level) if phase.kind == "optimised" else phase.kind
            self._ledger.mark(phase.level, phase.length, how)
        if clock() - self._saved > self._pause:
            self._save()

    def _save(self) -> None:
        """Leave a state to go on with."""
        ledger = self._ledger
        began, kept = ledger.clock(), ledger.kept
        write_state(self._out, ledger, self._question, self._done)
        self._saved = ledger.clock()
        self._checks.written(kept, self._saved - began)
        self._pause = max(_CHECKPOINT_SECONDS, _CHECKPOINTS * (self._saved - began))

    def _ask_again(self) -> Repeated | None:
        if not self._settings.repeat:
            return None
        self._say("asking the model to repeat")
        tokens = np.random.default_rng(self._settings.seed).permutation(np.flatnonzero(self._ledger.wanted))
        return repeat_test(self._prompts, tokens, self._times.repeat())

    def _strength(self, levels: list[str], *, all_tried: bool) -> Strength:
        """Measure the search, then count and replay what the measuring itself has found."""
        hits = self._ledger.hits
        deadline = self._times.measure(all_tried=all_tried)
        measured, finds = measure_strength(self._prompts, self._settings, self._aims, levels, self._say, deadline)
        credit(self._prompts, finds)
        self._replays.finish(self._times.last)
        return with_unfound(measured, self._prompts, levels, self._ledger.hits - hits)

    # --- the record -------------------------------------------------------------------------------------------------

    def _record(
        self,
        levels: list[str],
        strength: Strength | None,
        repeated: Repeated | None,
        incomplete: list[str],
        searched: float,
        parts: Parts,
    ) -> SearchRecord:
        live, ledger, order, replays = self._live, self._ledger, self._order, self._replays
        report = replays.report
        tries = {level: (int(ledger.tries[level].sum()), int(ledger.wins[level].sum())) for level in levels}
        return SearchRecord(
            model=order.name,
            loading=order.loading.record(),
            fingerprint=self._question.fingerprint,
            tokens=order.tokens,
            v=live.v,
            d=live.rows.shape[1],
            dtype=str(live.dtype).removeprefix("torch."),
            fixed=Fixed(tuple(live.before), tuple(live.after)),
            norm_range=(live.range.low, live.range.high),
            levels=tuple(levels),
            asked=int(self._asked.sum()),
            funnel=funnel(ledger, self._verdicts, self._asked, levels),
            contradictions=_contradictions(ledger, self._unspeakable),
            replay=Replayed(report.replayed, report.failed, report.own_failed, report.unchecked, replays.seconds),
            strength=strength,
            curve=tuple(ledger.curve),
            inputs=ledger.inputs,
            attempts={level: Attempted(*one) for level, one in tries.items()},
            repeat=None if repeated is None else repeated.record(ledger.wanted),
            incomplete=tuple(incomplete),
            batch_shrunk=self._size.shrunk,
            settings=self._settings,
            warnings=order.warnings,
            command=command_line(),
            versions=package_versions() | package_versions(("transformers",)),
            hardware=hardware(),
            finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            search_seconds=searched,
            seconds=ledger.seconds,
            parts=parts,
            peak_memory_bytes=peak_memory_bytes(),
        )


def _fingerprint(live: LiveModel) -> str:
    """Of what the search reads and writes: enough to tell one model from another."""
    output = live.output_rows()
    digest = hashlib.sha256()
    for part in [live.rows] if output is None else [live.rows, output[0]]:
        digest.update(part.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _contradictions(ledger: Ledger, unspeakable: Bool[np.ndarray, " v"]) -> tuple[Contradiction, ...]:
    """Tokens that the head proves unspeakable and that came up all the same."""
    return tuple(
        Contradiction(int(token), level)
        for level in LEVELS
        for token in np.flatnonzero(ledger.found[level] & unspeakable)
    )


# --- from a model's name --------------------------------------------------------------------------------------------


def run_search(
    name: str,
    loading: Loading,
    out: Path,
    settings: SearchSettings,
    *,
    tokens: str | None = None,
    resume: bool = False,
    force: bool = False,
    say: Say = silent,
    fetch: bool = True,
) -> SearchRecord:
    """Load everything and search.

    Args:
        name: the model as the user named it.
        loading: what finds it again.
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
            raise BadInput(
                f"{name}: a single file, a bare head or GGUF, has no inputs to search; give a folder or a Hub id"
            )
        if loading.adapter not in (None, IGNORE):
            which = "the adapter beside it" if loading.adapter == MERGE else f"the adapter in {loading.adapter}"
            raise BadInput(
                f"{name}: a search runs the model as it is stored, without {which}: merge it into the model's files "
                "first, or say --adapter ignore"
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
        verdicts, head_folder, more = _head_verdicts(name, loading, fetch, out, settings, live.v)
        vocabulary = load_vocabulary(head_folder or (Path(folder) if Path(folder).is_dir() else None), live.v)
        chosen = None if tokens is None else choose_tokens(tokens, vocabulary, live.v)
        order = SearchOrder(name, loading, tokens, tuple(notes + more + vocabulary.warnings))
        return search_to_folder(
            live, trip, vocabulary, verdicts, out, settings, order, chosen=chosen, resume=resume, force=force, say=say
        )


def _place(loading: Loading, fetch: bool) -> tuple[str, str | None]:
    """Folder or Hub id of the model, and its revision; a folder wherever the Hub may not be asked."""
    model, revision = str(loading.model), loading.revision
    if model == DEMO_NAME:
        return str(demo_model()), None
    if fetch or is_at_hand(model):
        return model, revision
    return str(CachedFiles(model, revision).folder), None


@contextmanager
def _hint_at_fetching(loading: Loading, fetch: bool) -> Iterator[None]:
    """Where only the Hub cache was looked at, a complaint says so."""
    try:
        yield
    except BadInput as error:
        if fetch or is_at_hand(str(loading.model)):
            raise
        more = "only its files in the Hub cache were looked at: name the model on the command line to fetch more"
        raise BadInput(f"{error}; {more}") from None


def _head_verdicts(
    name: str, loading: Loading, fetch: bool, out: Path, settings: SearchSettings, v: int
) -> tuple[HeadVerdicts | None, Path | None, list[str]]:
    """The verdicts of the scan in the folder, which is made where there is none yet."""
    try:
        head = load_again(loading, fetch=fetch)
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


STUDY = Study("search", SearchSettings, run_search, SearchRecord, "reports.search_page:write_search_report")
