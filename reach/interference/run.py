"""`reach interference` without its command line: a head in, the files of a run folder out."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec import structs

from reach.heads.head import Head
from reach.heads.loading import Loading
from reach.interference.controls import CONTROLS, MAKERS, band, reinitialised, shape_bands, shapes
from reach.interference.matrices import (
    FOLDED,
    TITLES,
    Spaces,
    equal_rows,
    fresh_rows,
    plain_rows,
    spaces_of,
    unit_rows,
)
from reach.interference.options import InterferenceSettings
from reach.interference.packing import coherence_bound, expected_strongest, interference
from reach.interference.record import (
    Beside,
    BesideCase,
    Case,
    Control,
    Dictionary,
    Interference,
    Shapes,
    Speakability,
    StatisticName,
    TokenColumns,
    refuse_overwriting,
)
from reach.interference.speakability import Verdicts, join, verdicts_of
from reach.interference.statistics import STATISTICS, Measured, by_chance, measure
from reach.interference.structure import dictionary_curve, require_scikit_learn
from reach.interference.theory import predict, theory
from reach.names import command_line
from reach.runs.environment import hardware, package_versions, peak_memory_bytes
from reach.runs.folder import RunFolder
from reach.runs.lock import locked
from reach.studies import Study
from reach.vocabulary import Vocabulary
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem

CENTRINGS = (False, True)
_DICTIONARY_DRAWS = 2

Say = Callable[[str], object]
Draws = dict[bool, list[tuple[dict[str, float], Shapes]]]
"""For each centring, the statistics and distributions of each draw of a control."""


def silent(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class InterferenceOrder:
    """What the record says of the question.

    Attributes:
        name: the model as the user named it.
        loading: what finds the same head again.
        beside: run folders of other checkpoints or seeds to show beside this one.
        warnings: one line each.
    """

    name: str
    loading: Loading
    beside: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()


def interference_to_folder(
    head: Head,
    vocabulary: Vocabulary,
    out: Path,
    settings: InterferenceSettings,
    order: InterferenceOrder,
    *,
    force: bool = False,
    say: Say = silent,
) -> Interference:
    """Measure a model, write `interference.json` and `interference.parquet` into a folder, and return the record.

    A finished scan of the same model in that folder is joined with the measurement.

    Raises:
        BadInput: the folder holds a result (without `force`) or another model's scan, another process is writing to
            it, a run to put beside this one has no result, or the model cannot be measured.
        MissingExtra: scikit-learn is missing and its parts were not left out; nothing has been measured then.
    """
    if settings.wants("blocks") or settings.wants("dictionary"):
        require_scikit_learn()
    with locked(out):
        started = time.perf_counter()
        refuse_overwriting(out, force=force)
        others = [_beside(folder) for folder in order.beside]
        problem = head.problem()
        verdicts, reason = _scan_in(out, problem)
        measured = _measured(head, vocabulary, settings, say)
        say("joining with the scan" if verdicts is not None else "writing")
        columns = TokenColumns.joined(measured.columns)
        speakability = Speakability(reason=reason) if verdicts is None else join(columns, verdicts, _offset(problem))
        record = Interference(
            model=order.name,
            loading=order.loading.record(),
            fingerprint=problem.fingerprint,
            v=problem.v,
            d=problem.d,
            norm=head.norm,
            tie=head.tie,
            settings=settings,
            statistics=tuple(StatisticName(s.key, s.title, s.words) for s in STATISTICS),
            controls=CONTROLS,
            theory=theory(problem.v, problem.d, settings.alphas),
            cases=tuple(measured.cases),
            left_out=measured.left_out,
            dictionary=measured.dictionary,
            measuring_seconds=measured.seconds,
            speakability=speakability,
            beside=tuple(others),
            warnings=(*order.warnings, *measured.warnings),
            command=command_line(),
            versions=package_versions() | package_versions(("scikit-learn", "transformers")),
            hardware=hardware(),
            finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            seconds=time.perf_counter() - started,
            peak_memory_bytes=peak_memory_bytes(),
        )
        columns.write(out)  # the table first: a folder with the record is complete
        record.write(out)
        return record


def _scan_in(out: Path, problem: ArgmaxProblem) -> tuple[Verdicts | None, str | None]:
    """What a finished scan in the folder says, or why there is nothing to join with."""
    if not (out / "manifest.json").is_file():
        return None, f"there is no scan in {out}: run 'reach scan' with the same --out first"
    run = RunFolder.open(out, finished=False)
    if not run.finished:
        return None, f"the scan in {out} has not finished"
    return verdicts_of(run, problem.fingerprint), None


def _offset(problem: ArgmaxProblem) -> np.ndarray | None:
    return None if problem.zero_offset else problem.offset.numpy()


def _beside(folder: Path) -> Beside:
    """What is shown of another run: the statistics of its cases, and how well its indicators predict."""
    if not folder.is_dir():
        raise BadInput(f"--beside {folder}: no such run folder")
    other = Interference.read(folder)
    told = tuple(
        structs.replace(
            row,
            unspeakable=row.unspeakable and structs.replace(row.unspeakable, false_rate=(), true_rate=()),
            hard_to_speak=row.hard_to_speak and structs.replace(row.hard_to_speak, false_rate=(), true_rate=()),
        )
        for row in other.speakability.indicators
    )
    return Beside(
        run=str(folder),
        model=other.model,
        cases=tuple(BesideCase(one.rows, one.centred, one.n, one.d, one.statistics) for one in other.cases),
        speakability=structs.replace(other.speakability, indicators=told, scatter=None),
    )


# --- the measurement ---


def _measured(head: Head, vocabulary: Vocabulary, settings: InterferenceSettings, say: Say) -> _Measuring:
    """Measure a model and its controls.

    Raises:
        BadInput: a matrix cannot be measured (d = 1, or all its rows are equal).
    """
    started, threads = time.perf_counter(), torch.get_num_threads()
    torch.set_num_threads(settings.jobs)
    try:
        spaces = spaces_of(head)
        measuring = _Measuring(settings, say, spaces)
        for key, rows in spaces.rows.items():
            measuring.matrix(key, rows, vocabulary)
        if settings.wants("controls"):
            measuring.controls(head, spaces)
        if settings.wants("dictionary"):
            measuring.learn(spaces.rows[FOLDED])
    finally:
        torch.set_num_threads(threads)
    measuring.seconds = time.perf_counter() - started
    return measuring


class _Measuring:
    """Collects cases, control draws and columns."""

    def __init__(self, settings: InterferenceSettings, say: Say, spaces: Spaces) -> None:
        self.settings, self.say = settings, say
        self.cases: list[Case] = []
        self.columns: list[TokenColumns] = []
        self.warnings: list[str] = []
        self.left_out = dict(spaces.left_out)
        self.dictionary = Dictionary(reason="left out")
        self.seconds = 0.0

    # --- the model ---------------------------------------------------------------------------------------------

    def matrix(self, key: str, rows: ArgmaxProblem, vocabulary: Vocabulary) -> None:
        """Measure one matrix, raw and centred."""
        if rows.v <= rows.d:
            self.warnings.append(
                f"{key}: {rows.v} rows in {rows.d} dimensions (V ≤ d) could all be orthogonal: nothing forces "
                "interference here, and the lower bounds on coherence are 0"
            )
        same = equal_rows(rows)
        if same:
            some = "1 row is" if same == 1 else f"{same:,} rows are"
            self.warnings.append(f"{key}: {some} equal to an earlier row; such pairs have |cos| = 1")
        distance = np.concatenate(
            [(rows.rows(block) - rows.mean_row).norm(dim=1).numpy() for block in rows.blocks(8 * rows.d * 4)]
        )
        for centred in CENTRINGS:
            self.say(f"{key}{', centred' if centred else ''}: all pairs")
            unit = unit_rows(rows, centred=centred, allow_zero=True)
            if len(unit.zero):
                what = "equal the mean row" if centred else "are zero"
                self.warnings.append(
                    f"{key}{', centred' if centred else ''}: {len(unit.zero)} rows {what} and have no direction (the "
                    f"first is row {unit.zero[0]}); they are set aside"
                )
            n, d = unit.unit.shape
            epsilon = _epsilon(n, d)
            random = expected_strongest(n, d)
            thresholds = (random,) if epsilon is None else (random, epsilon)
            found = measure(unit, thresholds, blocks=self.settings.wants("blocks"), jobs=self.settings.jobs)
            self._case(key, centred, found, epsilon, random)
            self._columns(key, centred, rows, found, distance, vocabulary)
            del unit, found  # before the next copy of the rows is made

    def _case(self, key: str, centred: bool, found: Measured, epsilon: float | None, random: float) -> None:
        n, d = found.rows.unit.shape
        mean, mean_square = found.values["mean"], found.values["mean_square"]
        self.cases.append(
            Case(
                rows=key,
                centred=centred,
                title=TITLES[key] + (", mean-centred" if centred else ""),
                n=n,
                d=d,
                zero_rows=len(found.rows.zero),
                statistics=found.values,
                chance=by_chance(n, d),
                least_coherence=coherence_bound(n, d),
                epsilon=epsilon,
                tokens_above_epsilon=None if epsilon is None else int((found.pairs.above[1] > 0).sum()),
                strongest_by_chance=random,
                tokens_above_chance=int((found.pairs.above[0] > 0).sum()),
                shapes=shapes(found),
                subspaces=predict(mean, mean_square, n, d) if mean > 1e-12 else None,
                blocks=found.blocks,
                controls={},
            )
        )

    def _columns(
        self,
        key: str,
        centred: bool,
        rows: ArgmaxProblem,
        found: Measured,
        distance: np.ndarray,
        vocabulary: Vocabulary,
    ) -> None:
        v, kept, pairs = rows.v, found.rows.kept, found.pairs

        def spread(values: np.ndarray, empty: Any) -> np.ndarray:
            full = np.full(v, empty, dtype=object if empty is None else np.float64)
            full[kept] = values
            return full

        above = [count.astype(object) for count in pairs.above]
        pieces = np.array((vocabulary.pieces + [None] * v)[:v], dtype=object)
        columns = TokenColumns(
            rows=np.full(v, key, dtype=object),
            centred=np.full(v, centred),
            token_id=np.arange(v),
            token=pieces,
            strongest_id=spread(kept[pairs.strongest].astype(object), None),
            strongest_cos=spread(pairs.strongest_cos, np.nan),
            above_epsilon=spread(above[1], None) if len(above) > 1 else np.full(v, None),
            above_chance=spread(above[0], None),
            dimensionality=spread(found.dimensionality, np.nan),
            norm=rows.row_norm.numpy(),
            distance_from_mean=distance,
        )
        self.columns.append(columns)

    # --- the controls ------------------------------------------------------------------------------------------

    def controls(self, head: Head, spaces: Spaces) -> None:
        """Measure every control of every matrix with the same code, and put the bands beside the model."""
        gaussian: dict[tuple[int, int], Draws] = {}
        for key, rows in spaces.rows.items():
            for kind, make in MAKERS.items():
                shape = (rows.v, rows.d)
                if kind == "gaussian" and shape in gaussian:
                    draws = gaussian[shape]  # depends on nothing but the shape
                else:
                    self.say(f"{key}: control {kind}")
                    matrices = (plain_rows(make(rows, seed)) for seed in range(self.settings.seeds))
                    draws = self._draws(matrices)
                    if kind == "gaussian":
                        gaussian[shape] = draws
                self._bands(key, kind, draws)
        if not self.settings.wants("reinitialised"):
            return
        self.say("control re-initialised model")
        drawn: dict[str, Draws] = {}
        try:
            for seed in range(self.settings.seeds):
                output, embedding = reinitialised(head, seed)
                for key in spaces.rows:
                    draws = self._draws(iter([fresh_rows(key, head, output, embedding)]))
                    for centred in CENTRINGS:
                        drawn.setdefault(key, {False: [], True: []})[centred] += draws[centred]
        except BadInput as error:
            self.left_out["reinitialised"] = str(error)
            return
        for key, draws in drawn.items():
            self._bands(key, "reinitialised", draws)

    def _draws(self, matrices: Iterator[ArgmaxProblem]) -> Draws:
        draws: Draws = {False: [], True: []}
        for matrix in matrices:
            for centred in CENTRINGS:
                unit = unit_rows(matrix, centred=centred, allow_zero=True)
                found = measure(unit, blocks=self.settings.wants("blocks"), jobs=self.settings.jobs)
                draws[centred].append((found.values, shapes(found)))
                del unit, found  # before the next copy of the rows is made
        return draws

    def _bands(self, key: str, kind: str, draws: Draws) -> None:
        for at, case in enumerate(self.cases):
            if case.rows != key:
                continue
            own = draws[case.centred]
            found = Control(
                statistics=band([values for values, _ in own], case.statistics),
                shapes=shape_bands([curves for _, curves in own]),
                draws=len(own),
            )
            self.cases[at] = structs.replace(case, controls={**case.controls, kind: found})

    # --- the dictionary ----------------------------------------------------------------------------------------

    def learn(self, rows: ArgmaxProblem) -> None:
        """The curve of the model's centred A and those of the controls. Where it fails, all the rest is kept."""
        self.say("A, centred: dictionary")
        try:
            own, beside = dictionary_curve(_directions(rows)), {}
            for kind, make in MAKERS.items() if self.settings.wants("controls") else ():
                self.say(f"A, centred: dictionary of control {kind}")
                beside[kind] = tuple(
                    dictionary_curve(_directions(plain_rows(make(rows, seed))), seed=seed)
                    for seed in range(min(_DICTIONARY_DRAWS, self.settings.seeds))
                )
        except BadInput as error:
            self.dictionary = Dictionary(reason=str(error))
        except (ImportError, MemoryError, ValueError, np.linalg.LinAlgError) as error:
            reason = f"learning it failed ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
            self.warnings.append(f"dictionary: {reason}; all the rest was measured")
            self.dictionary = Dictionary(reason=reason)
        else:
            self.dictionary = Dictionary(reason=None, model=own, controls=beside)


def _directions(rows: ArgmaxProblem) -> np.ndarray:
    return unit_rows(rows, centred=True, allow_zero=True).unit.numpy()


def _epsilon(n: int, d: int) -> float | None:
    try:
        return interference(n, d)
    except BadInput:
        return None


STUDY = Study(
    name="interference",
    options=InterferenceSettings,
    run=interference_to_folder,
    record=Interference,
    page="reports.interference_page:write_interference_page",
)
