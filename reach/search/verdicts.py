"""What a scan of the same model says about each token before any input is tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reach.runs.folder import RunFolder
from solvers.errors import BadInput


@dataclass(frozen=True)
class Aims:
    """Head witnesses as unit directions.

    Attributes:
        before: `(v, d)` of the state that enters the final norm.
        after: `(v, d)` of the state that enters the output matrix, from its middle.
    """

    before: Float[Tensor, "v d"]
    after: Float[Tensor, "v d"]

    def to(self, device: torch.device) -> Aims:
        """The same on a device."""
        return Aims(self.before.to(device), self.after.to(device))


@dataclass(frozen=True)
class HeadVerdicts:
    """Level 0 of a search.

    Attributes:
        verdict: one per token; none where the scan was not asked.
        margin: `(v,)` the scan's lower bound, logits; NaN where there is none.
        unspeakable: `(v,)` proved: at every level below as well.
        aims: where each token's head witness lies.
    """

    verdict: list[str | None]
    margin: Float[np.ndarray, " v"]
    unspeakable: Bool[np.ndarray, " v"]
    aims: Aims | None


def read_verdicts(run: RunFolder, fingerprint: str, head: Any) -> HeadVerdicts:
    """The verdicts of a finished scan.

    Raises:
        BadInput: the scan is of another model.
    """
    if run.manifest.get("fingerprint") != fingerprint:
        raise BadInput(f"{run.path}: holds the scan of another model; choose another --run")
    columns = run.verdicts().table.select(["verdict", "margin_lower", "witness"]).to_pydict()
    verdict = columns["verdict"]
    margin = np.array([np.nan if one is None else one for one in columns["margin_lower"]], dtype=np.float64)
    unspeakable = np.array([one == "unspeakable" for one in verdict])
    return HeadVerdicts(verdict, margin, unspeakable, _aims(run, head, columns["witness"]))


def _aims(run: RunFolder, head: Any, recipes: list[str | None]) -> Aims:
    """Witnesses are points z before the norm's scale; final states are γ ⊙ z + β, so directions get γ as well."""
    gamma = torch.ones(head.d) if head.gamma is None else head.gamma.float()
    rows = head.weight.float() * gamma
    points = rows - rows.mean(0) * torch.tensor([[0.0 if one == "own-row" else 1.0] for one in recipes])
    for token, point in run.tables.witnesses.items():
        points[token] = torch.from_numpy(point).float()
    unit = torch.nn.functional.normalize
    return Aims(unit(points, dim=1), unit(points * gamma, dim=1))
