"""The model before its training: built from its config by transformers, with fresh random weights."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor

from reach.heads.head import Head
from reach.pretrained import model_from_config, pretrained
from solvers.errors import BadInput, MissingExtra


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
            "transformers is not installed, so no fresh model can be built: pip install 'token-reachability[models]'"
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
