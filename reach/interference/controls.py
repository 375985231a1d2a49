"""What would chance do? Matrices of the same shape that share ever more with the model's rows, and no training.

A statistic says something about training only where it leaves the band of the controls. Each control keeps certain
things and destroys the rest, so that what explains a deviation can be told.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from reach.heads.head import Head
from reach.interference.record import Band, ControlName, Curves, ShapeBands, Shapes
from reach.interference.statistics import Measured
from reach.pretrained import model_from_config, pretrained
from solvers.errors import BadInput, MissingExtra
from solvers.problem import ArgmaxProblem

CONTROLS = {
    "gaussian": ControlName("Gaussian rows", "only the shape, V × d"),
    "covariance": ControlName(
        "Gaussian, model's covariance and norms", "mean, covariance (all directions' energy) and row lengths"
    ),
    "permuted": ControlName("columns permuted", "every column's own values, but no relation between columns"),
    "reinitialised": ControlName("re-initialised model", "the architecture's own random start"),
}
"""What each shares with the model's rows."""

MakeRows = Callable[[ArgmaxProblem, int], Float32[Tensor, "v d"]]


def gaussian(v: int, d: int, seed: int) -> Float32[Tensor, "v d"]:
    """Independent standard normal entries."""
    return torch.randn(v, d, generator=torch.Generator().manual_seed(seed))


def gaussian_rows(rows: ArgmaxProblem, seed: int) -> Float32[Tensor, "v d"]:
    """The same, of the shape of a matrix."""
    return gaussian(rows.v, rows.d, seed)


def covariance_rows(rows: ArgmaxProblem, seed: int) -> Float32[Tensor, "v d"]:
    """Rows of N(μ, Σ) with the model's mean μ and covariance Σ, each then given the length of a row of the model."""
    values, vectors = torch.linalg.eigh(rows.covariance())
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


MAKERS: dict[str, MakeRows] = {"gaussian": gaussian_rows, "covariance": covariance_rows, "permuted": permuted_rows}


# --- the model before its training: built from its config by transformers, with fresh random weights ---


def reinitialised(head: Head, seed: int) -> tuple[Float32[Tensor, "v d"], Float32[Tensor, "v e"]]:
    """Output matrix and input embedding of a fresh model.

    The final norm starts as γ = 1, β = 0, so the folded A of a fresh model is its W, row-centred for a LayerNorm.

    Raises:
        BadInput: there is no config, or transformers cannot build the model, or its output matrix has another shape.
        MissingExtra: transformers is not installed.
    """
    if head.folder is None or not (Path(head.folder) / "config.json").is_file():
        raise BadInput("a bare head has no config to build a fresh model from")
    if "projection" in head.tensors:
        raise BadInput("the head has a projection folded into it, which a fresh model's output matrix has not")
    try:
        from transformers import AutoConfig, AutoModelForCausalLM
    except ImportError:
        raise MissingExtra(
            "transformers is not installed, so no fresh model can be built: pip install transformers"
        ) from None
    try:
        config = pretrained(AutoConfig, head.folder, local_files_only=True)
        with torch.random.fork_rng(devices=[]), _quiet():
            torch.manual_seed(seed)
            model = _smallest(AutoModelForCausalLM, config)
        output, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    except Exception as error:  # whatever a config of a foreign architecture makes transformers raise
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"transformers cannot build this model afresh: {reason}") from None
    if tuple(output.shape) != (head.v, head.d):
        raise BadInput(
            f"a fresh model's output matrix has shape {tuple(output.shape)}, but the head has ({head.v}, {head.d})"
        )
    return output.detach().to(torch.float32), embedding.detach().to(torch.float32)


def _smallest(auto: Any, config: Any) -> Any:
    """Build with one layer where the config allows it: layers cost memory, and the matrices do not depend on them."""
    layers = getattr(config, "num_hidden_layers", None)
    with contextlib.suppress(Exception):
        config.num_hidden_layers = 1
        if getattr(config, "layer_types", None):
            config.layer_types = config.layer_types[:1]
        return model_from_config(auto, config)
    config.num_hidden_layers = layers
    return model_from_config(auto, config)


@contextlib.contextmanager
def _quiet() -> Any:
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


# --- from the draws of a control to a band, and from a band to a z-score ---

SHOWN_BINS = 128
_PERCENTS = np.linspace(0, 1, 101)


def shapes(measured: Measured) -> Shapes:
    """The distributions of one matrix, with |cos| over `SHOWN_BINS` bins."""
    counts = measured.pairs.counts.reshape(SHOWN_BINS, -1).sum(axis=1)
    return Shapes(
        cosines=tuple((counts / max(1, counts.sum()) * SHOWN_BINS).tolist()),
        strongest=tuple(np.quantile(measured.pairs.strongest_cos, _PERCENTS).tolist()),
        dimensionality=tuple(np.quantile(measured.dimensionality, _PERCENTS).tolist()),
    )


def band(draws: list[dict[str, float]], model: Mapping[str, float | None]) -> dict[str, Band]:
    """Per statistic: mean, standard deviation and extremes over the draws, and the model's z-score.

    z = (model − mean)/sd. It has no value where all draws agree, and few draws make a rough sd: read its size, not
    its digits.
    """
    found = {}
    for key, own in model.items():
        values = np.array([draw[key] for draw in draws if key in draw], dtype=float)
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        mean = float(values.mean())
        sd = float(values.std(ddof=1)) if len(values) > 1 else None
        spread = sd is not None and sd > 1e-9 * max(abs(mean), 1e-300)
        z = (own - mean) / sd if sd is not None and spread and own is not None and math.isfinite(own) else None
        found[key] = Band(mean=mean, sd=sd, low=float(values.min()), high=float(values.max()), z=z)
    return found


def shape_bands(draws: list[Shapes]) -> ShapeBands:
    """Per distribution the lowest and highest curve over the draws."""
    return ShapeBands(
        cosines=_curves([draw.cosines for draw in draws]),
        strongest=_curves([draw.strongest for draw in draws]),
        dimensionality=_curves([draw.dimensionality for draw in draws]),
    )


def _curves(draws: list[tuple[float, ...]]) -> Curves:
    stacked = np.array(draws)
    return Curves(low=tuple(stacked.min(axis=0).tolist()), high=tuple(stacked.max(axis=0).tolist()))
