"""The whole measurement of one model: its matrices, the controls, and the record that is stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from reach.heads.head import Head
from reach.interference import chance
from reach.interference.bands import band, shape_bands, shapes
from reach.interference.controls import CONTROLS, GAUSSIAN, MAKERS, REINITIALISED
from reach.interference.dictionary import dictionary_curve
from reach.interference.moments import predict
from reach.interference.packing import interference
from reach.interference.reinitialised import reinitialised
from reach.interference.rows import unit_rows
from reach.interference.settings import InterferenceSettings
from reach.interference.spaces import FOLDED, TITLES, Spaces, equal_rows, fresh_rows, plain_rows, spaces_of
from reach.interference.statistics import Measured, by_chance, least_coherence, measure
from reach.interference.theory import theory
from reach.vocabulary import Vocabulary
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem

CENTRINGS = (False, True)
_DICTIONARY_DRAWS = 2

Say = Callable[[str], object]


def silent(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Study:
    """What was found.

    Attributes:
        record: for `interference.json`.
        columns: for `interference.parquet`.
        warnings: one line each.
    """

    record: dict[str, Any]
    columns: dict[str, np.ndarray]
    warnings: list[str]


def study(head: Head, vocabulary: Vocabulary, settings: InterferenceSettings, say: Say = silent) -> Study:
    """Measure a model and its controls.

    Args:
        head: the model's head.
        vocabulary: its tokens.
        settings: what to do.
        say: told what is being done.

    Raises:
        BadInput: a matrix cannot be measured (d = 1, or all its rows are equal).
        MissingExtra: scikit-learn is missing and neither blocks nor dictionary were left out.
    """
    started = time.perf_counter()
    torch.set_num_threads(settings.jobs)
    spaces = spaces_of(head)
    measuring = _Measuring(settings, say)
    for key, rows in spaces.rows.items():
        measuring.matrix(key, rows, vocabulary)
    if settings.wants("controls"):
        measuring.controls(head, spaces)
    a = spaces.rows[FOLDED]
    record = {
        "theory": theory(a.v, a.d, settings.alphas),
        "cases": measuring.cases,
        "left_out": spaces.left_out | measuring.left_out,
        "dictionary": measuring.dictionary(a) if settings.wants("dictionary") else {"reason": "left out"},
        "measuring_seconds": time.perf_counter() - started,
    }
    columns = {name: np.concatenate(parts) for name, parts in measuring.columns.items()}
    return Study(record, columns, measuring.warnings)


class _Measuring:
    """Collects cases, control draws and columns."""

    def __init__(self, settings: InterferenceSettings, say: Say) -> None:
        self.settings, self.say = settings, say
        self.cases: list[dict[str, Any]] = []
        self.columns: dict[str, list[np.ndarray]] = {}
        self.warnings: list[str] = []
        self.left_out: dict[str, str] = {}

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
            self.warnings.append(f"{key}: {same} rows are equal to an earlier row; such pairs have |cos| = 1")
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
            random = chance.expected_strongest(n, d)
            thresholds = (random,) if epsilon is None else (random, epsilon)
            found = measure(unit, thresholds, blocks=self.settings.wants("blocks"), jobs=self.settings.jobs)
            self._case(key, centred, found, epsilon, random)
            self._columns(key, centred, rows, found, distance, vocabulary)
            del unit, found  # before the next copy of the rows is made

    def _case(self, key: str, centred: bool, found: Measured, epsilon: float | None, random: float) -> None:
        n, d = found.rows.unit.shape
        mean, mean_square = found.values["mean"], found.values["mean_square"]
        self.cases.append(
            {
                "rows": key,
                "centred": centred,
                "title": TITLES[key] + (", mean-centred" if centred else ""),
                "n": n,
                "d": d,
                "zero_rows": len(found.rows.zero),
                "statistics": found.values,
                "chance": by_chance(n, d),
                "least_coherence": least_coherence(n, d),
                "epsilon": epsilon,
                "tokens_above_epsilon": None if epsilon is None else int((found.pairs.above[1] > 0).sum()),
                "strongest_by_chance": random,
                "tokens_above_chance": int((found.pairs.above[0] > 0).sum()),
                "shapes": shapes(found),
                "subspaces": dict(predict(mean, mean_square, n, d).__dict__) if mean > 1e-12 else None,
                "blocks": found.blocks,
                "controls": {},
            }
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
        columns = {
            "rows": np.full(v, key, dtype=object),
            "centred": np.full(v, centred),
            "token_id": np.arange(v),
            "token": pieces,
            "strongest_id": spread(kept[pairs.strongest].astype(object), None),
            "strongest_cos": spread(pairs.strongest_cos, np.nan),
            "above_epsilon": spread(above[1], None) if len(above) > 1 else np.full(v, None),
            "above_chance": spread(above[0], None),
            "dimensionality": spread(found.dimensionality, np.nan),
            "norm": rows.row_norm.numpy(),
            "distance_from_mean": distance,
        }
        for name, values in columns.items():
            self.columns.setdefault(name, []).append(values)

    # --- the controls ------------------------------------------------------------------------------------------

    def controls(self, head: Head, spaces: Spaces) -> None:
        """Measure every control of every matrix with the same code, and put the bands beside the model."""
        gaussian: dict[tuple[int, int], dict[bool, list[Any]]] = {}
        for key, rows in spaces.rows.items():
            for kind, make in MAKERS.items():
                shape = (rows.v, rows.d)
                if kind == GAUSSIAN.key and shape in gaussian:
                    draws = gaussian[shape]  # depends on nothing but the shape
                else:
                    self.say(f"{key}: control {kind}")
                    matrices = (plain_rows(make(rows, seed)) for seed in range(self.settings.seeds))
                    draws = self._draws(matrices)
                    if kind == GAUSSIAN.key:
                        gaussian[shape] = draws
                self._bands(key, kind, draws)
        if not self.settings.wants("reinitialised"):
            return
        self.say("control re-initialised model")
        drawn: dict[str, dict[bool, list[Any]]] = {}
        try:
            for seed in range(self.settings.seeds):
                output, embedding = reinitialised(head, seed)
                for key in spaces.rows:
                    draws = self._draws(iter([fresh_rows(key, head, output, embedding)]))
                    for centred in CENTRINGS:
                        drawn.setdefault(key, {False: [], True: []})[centred] += draws[centred]
        except BadInput as error:
            self.left_out[REINITIALISED.key] = str(error)
            return
        for key, draws in drawn.items():
            self._bands(key, REINITIALISED.key, draws)

    def _draws(self, matrices: Iterator[ArgmaxProblem]) -> dict[bool, list[Any]]:
        draws: dict[bool, list[Any]] = {False: [], True: []}
        for matrix in matrices:
            for centred in CENTRINGS:
                unit = unit_rows(matrix, centred=centred, allow_zero=True)
                found = measure(unit, blocks=self.settings.wants("blocks"), jobs=self.settings.jobs)
                draws[centred].append((found.values, shapes(found)))
                del unit, found  # before the next copy of the rows is made
        return draws

    def _bands(self, key: str, kind: str, draws: dict[bool, list[Any]]) -> None:
        for case in self.cases:
            if case["rows"] != key:
                continue
            own = draws[case["centred"]]
            case["controls"][kind] = {
                "statistics": band([values for values, _ in own], case["statistics"]),
                "shapes": shape_bands([curves for _, curves in own]),
                "draws": len(own),
            }

    # --- the dictionary ----------------------------------------------------------------------------------------

    def dictionary(self, rows: ArgmaxProblem) -> dict[str, Any]:
        """The curve of the model's centred A and those of the controls."""
        self.say("A, centred: dictionary")
        try:
            own = dictionary_curve(_directions(rows))
        except BadInput as error:
            if type(error) is not BadInput:
                raise  # a missing package is the user's to install, not a property of the model
            return {"reason": str(error)}
        found: dict[str, Any] = {"reason": None, "model": dict(own.__dict__), "controls": {}}
        if self.settings.wants("controls"):
            for kind, make in MAKERS.items():
                self.say(f"A, centred: dictionary of control {kind}")
                found["controls"][kind] = [
                    dict(dictionary_curve(_directions(plain_rows(make(rows, seed))), seed=seed).__dict__)
                    for seed in range(min(_DICTIONARY_DRAWS, self.settings.seeds))
                ]
        return found


def _directions(rows: ArgmaxProblem) -> np.ndarray:
    return unit_rows(rows, centred=True, allow_zero=True).unit.numpy()


def _epsilon(n: int, d: int) -> float | None:
    try:
        return interference(n, d)
    except BadInput:
        return None


def control_titles() -> dict[str, dict[str, str]]:
    """Name and meaning of each control, for the record."""
    return {control.key: {"title": control.title, "keeps": control.keeps} for control in CONTROLS}
