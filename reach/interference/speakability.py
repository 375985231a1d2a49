"""Does interference predict unspeakability? The tokens' indicators against the verdicts of a scan."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reach.classes import CLASSES
from reach.interference.agreement import rank_correlation, roc
from reach.interference.stored import COLUMNS
from reach.runs.folder import RunFolder
from solvers.errors import BadInput

QUESTIONS = {
    "unspeakable": "unspeakable against speakable tokens",
    "hard_to_speak": "hard-to-speak against own-direction tokens",
}
# Each says which matrix it is measured on: the two forms of A give areas of their own.
INDICATORS = {
    "dimensionality": "dimensionality, A as it is",
    "dimensionality_centred": "dimensionality, A mean-centred",
    "strongest_cos": "strongest |cos|, A as it is",
    "strongest_cos_centred": "strongest |cos|, A mean-centred",
    "norm": "norm, A as it is",
    "distance_from_mean": "distance from the mean row of A",
    "offset": "offset c (not interference: for comparison)",
}
SCATTER_POINTS = 4000


def indicator_title(row: Mapping[str, Any]) -> str:
    """An indicator in words; records of older versions did not name the matrix."""
    return INDICATORS.get(str(row.get("indicator")), str(row["title"]))


@dataclass(frozen=True)
class Verdicts:
    """What the join needs of a scan, one entry per token; `nan` and false where it says nothing."""

    unspeakable: np.ndarray
    own_direction: np.ndarray
    hard_to_speak: np.ndarray
    margin: np.ndarray


def verdicts_of(run: RunFolder, fingerprint: str) -> Verdicts:
    """Read the verdicts of a scan of the same model.

    Raises:
        BadInput: the run is of another model.
    """
    if run.manifest.get("fingerprint") != fingerprint:
        raise BadInput(
            f"{run.path}: holds a scan of another model or of other settings of it (its fingerprint differs); choose "
            "another --out, or scan this model there"
        )
    found = run.verdicts()
    names = ("speakable", "unspeakable", *CLASSES[:2])
    of = {name: np.isin(np.arange(len(found)), found.ids(name)) for name in names}
    # A proved lower bound where the token can win, a proved upper bound where it cannot.
    margin = np.where(of["speakable"], found.margin_lower, np.where(of["unspeakable"], found.margin_upper, np.nan))
    return Verdicts(of["unspeakable"], of["own-direction"], of["hard-to-speak"], margin)


def join(columns: dict[str, np.ndarray], verdicts: Verdicts, offset: np.ndarray | None) -> dict[str, Any]:
    """Correlations, ROC curves and the points of the scatter plots.

    Args:
        columns: the per-token table (schema `stored.TABLE`).
        verdicts: of the scan.
        offset: `(v,)` the head's offsets c, or none if they are zero.
    """
    indicators = _indicators(columns)
    if offset is not None:
        indicators["offset"] = offset
    told = {"unspeakable": verdicts.unspeakable, "hard_to_speak": verdicts.hard_to_speak}
    against = {
        "unspeakable": verdicts.own_direction | verdicts.hard_to_speak,
        "hard_to_speak": verdicts.own_direction,
    }
    rows = []
    for key, values in indicators.items():
        entry: dict[str, Any] = {"indicator": key, "title": INDICATORS[key]}
        correlation = rank_correlation(values, verdicts.margin)
        entry["correlation"] = None if correlation is None else dataclasses.asdict(correlation)
        for question, positive in told.items():
            asked = positive | against[question]
            found = roc(values[asked], positive[asked])
            entry[question] = None if found is None else dataclasses.asdict(found)
        rows.append(entry)
    return {
        "counts": {
            "unspeakable": int(verdicts.unspeakable.sum()),
            "hard_to_speak": int(verdicts.hard_to_speak.sum()),
            "own_direction": int(verdicts.own_direction.sum()),
        },
        "indicators": rows,
        "scatter": _scatter(indicators, verdicts),
    }


def _indicators(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The indicators of A's rows: raw and, where it makes a difference, mean-centred."""
    of_a = columns["rows"] == "A"
    raw, centred = of_a & ~columns["centred"], of_a & columns["centred"]
    found = {}
    for name in ("dimensionality", "strongest_cos"):
        found[name] = columns[name][raw]
        found[f"{name}_centred"] = columns[name][centred]
    for name in ("norm", "distance_from_mean"):
        found[name] = columns[name][raw]
    assert set(found) < set(INDICATORS) and {"norm", "strongest_cos"} < set(COLUMNS)
    return found


def _scatter(indicators: dict[str, np.ndarray], verdicts: Verdicts) -> dict[str, Any]:
    """Every token that is not own-direction, and as many of the others as a page can draw."""
    known = np.isfinite(verdicts.margin)
    special = np.nonzero(known & (verdicts.unspeakable | verdicts.hard_to_speak))[0]
    plain = np.nonzero(known & verdicts.own_direction)[0]
    generator = np.random.default_rng(0)
    special, plain = (
        np.sort(generator.choice(part, SCATTER_POINTS // 2, replace=False))
        if len(part) > SCATTER_POINTS // 2
        else part
        for part in (special, plain)
    )
    token = np.sort(np.concatenate([special, plain]))
    kind = np.where(
        verdicts.unspeakable, "unspeakable", np.where(verdicts.hard_to_speak, "hard-to-speak", "own-direction")
    )
    return {
        "token_id": token.tolist(),
        "kind": kind[token].tolist(),
        "margin": [float(f"{x:.5g}") for x in verdicts.margin[token]],
        "indicators": {key: [_rounded(x) for x in values[token]] for key, values in indicators.items()},
        "drawn": len(token),
        "of": int(known.sum()),
    }


def _rounded(value: float) -> float | None:
    return float(f"{value:.5g}") if np.isfinite(value) else None
