"""What would chance do? Matrices of the same shape that share ever more with the model's rows, and no training.

A statistic says something about training only where it leaves the band of the controls. Each control keeps certain
things and destroys the rest, so that what explains a deviation can be told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from solvers.problem import ArgmaxProblem


@dataclass(frozen=True)
class Control:
    """A way to make rows without training.

    Attributes:
        key: its name in files.
        title: its name for a person.
        keeps: what it shares with the model's rows.
    """

    key: str
    title: str
    keeps: str


GAUSSIAN = Control("gaussian", "Gaussian rows", "only the shape, V × d")
COVARIANCE = Control(
    "covariance",
    "Gaussian, model's covariance and norms",
    "mean, covariance (all directions' energy) and row lengths",
)
PERMUTED = Control("permuted", "columns permuted", "every column's own values, but no relation between columns")
REINITIALISED = Control("reinitialised", "re-initialised model", "the architecture's own random start")
CONTROLS = (GAUSSIAN, COVARIANCE, PERMUTED, REINITIALISED)

MakeRows = Callable[[ArgmaxProblem, int], Float32[Tensor, "v d"]]


def gaussian_rows(rows: ArgmaxProblem, seed: int) -> Float32[Tensor, "v d"]:
    """Independent standard normal entries."""
    return torch.randn(rows.v, rows.d, generator=torch.Generator().manual_seed(seed))


def covariance_rows(rows: ArgmaxProblem, seed: int) -> Float32[Tensor, "v d"]:
    """Rows of N(μ, Σ) with the model's mean μ and covariance Σ, each then given the length of a row of the model."""
    covariance = torch.zeros((rows.d, rows.d), dtype=torch.float64)
    for block in rows.blocks(8 * rows.d * 4):
        part = rows.rows(block) - rows.mean_row
        covariance += part.T @ part
    values, vectors = torch.linalg.eigh(covariance / rows.v)
    root = (vectors * values.clamp(min=0).sqrt()).to(torch.float32)
    mean = rows.mean_row.to(torch.float32)
    made = gaussian_rows(rows, seed)
    for block in rows.blocks(4 * rows.d * 4):
        part = made[block] @ root.T + mean
        length = part.norm(dim=1, keepdim=True).clamp(min=1e-30)
        made[block] = part * (rows.row_norm[block].to(torch.float32)[:, None] / length)
    return made


def permuted_rows(rows: ArgmaxProblem, seed: int) -> Float32[Tensor, "v d"]:
    """The model's rows with the entries of each column shuffled independently."""
    generator = torch.Generator().manual_seed(seed)
    made = torch.empty((rows.v, rows.d))
    for block in rows.blocks(8 * rows.d * 4):
        made[block] = rows.rows(block).to(torch.float32)
    for column in range(rows.d):
        made[:, column] = made[torch.randperm(rows.v, generator=generator), column]
    return made


MAKERS: dict[str, MakeRows] = {
    GAUSSIAN.key: gaussian_rows,
    COVARIANCE.key: covariance_rows,
    PERMUTED.key: permuted_rows,
}
