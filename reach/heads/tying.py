"""Which stored matrix is the output matrix? One stored as such, or the input embedding where that is certain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from reach.heads.config import ModelConfig
from reach.heads.head_class import has_head
from reach.heads.layout import HeadLayout
from reach.heads.overrides import HOW_BY_HAND
from reach.heads.quantised.module import Dequantised
from reach.heads.quantised.read import dequantised
from reach.heads.quantised.said import quantised_head, quantiser
from reach.heads.tensor_names import beside, is_head_like, of_an_adapter, some
from reach.heads.weights import StoredTensors, first_difference
from solvers.errors import BadInput

_PLAIN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_BY_HAND = ", or choose a stored matrix with --weight-tensor NAME"


@dataclass(frozen=True)
class OutputMatrix:
    """The output matrix as it was found.

    Attributes:
        name: the tensor that holds it.
        matrix: itself, dequantised where it is stored quantised.
        tie: a sentence on how it relates to the input embedding.
        others: role to name of the other tensors that it was made of.
        notes: what the user should know of it, one line each.
    """

    name: str
    matrix: Float[Tensor, "v d"]
    tie: str
    others: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def output_matrix(stored: StoredTensors, layout: HeadLayout, config: ModelConfig) -> OutputMatrix:
    """Find the output matrix of a known architecture.

    The input embedding stands in only where the config says tied, its class has a head, and no tensor is named like
    one: a head that is quantised or changed by an adapter is stored under another name.

    Raises:
        BadInput: no matrix is known to be the output matrix, other tensors change it, it is quantised in a way that
            is not known, or the config says tied while two stored matrices differ.
    """
    # What a model's own code makes of the entry is known where it was asked.
    said = config.says_tied if layout.learnt is None else None
    tied = layout.tied if said is None else said
    found = _quantised(stored, layout, config)
    reason = "sets tie_word_embeddings" if said is not None else f"leaves {config.model_type} tied, its default"
    if found is not None:
        name = found.names["weight"]
        if tied and name not in layout.embedding:
            raise BadInput(
                f"{config.path} {reason}, yet a head of its own is stored, quantised, as {name}: choose it with "
                f"--weight-tensor {name}, or the input embedding with --weight-tensor NAME"
            )
        return _made(stored, found, f"tied: the input embedding {name} serves" if tied else f"untied: {name} serves")
    how = _quantiser_words(config)
    output, embedding = the_one_stored(stored, layout.output), the_one_stored(stored, layout.embedding)
    if output is None:
        return _stand_in(stored, layout, config, embedding, tied)
    require_plain(stored, output, _BY_HAND, how, _known(layout))
    contradiction = quantised_head(config)
    if contradiction is not None:
        raise BadInput(
            f"{config.path}: the head is quantised: {contradiction}: but {output} is stored as plain numbers: "
            "dequantise the model, or point at a stored matrix with --weight-tensor NAME"
        )
    matrix = stored.matrix(output)
    if embedding is None:
        tie = f"untied: {output} serves, and the file has no input embedding to compare it with"
    elif not tied and (beside(stored.names, embedding) or not stored.at_hand(embedding)):
        # The output matrix serves either way: for the sake of a sentence no embedding is dequantised, and no shard
        # fetched.
        tie = f"untied: {output} serves, as the config says; not compared with {embedding}"
    else:
        differs_at = first_difference(matrix, stored.read(embedding))
        if tied and differs_at is not None:
            raise BadInput(
                f"{config.path} {reason}, yet {output} and {embedding} differ (first in row {differs_at}): choose "
                f"the head with --weight-tensor {output} or --weight-tensor {embedding}"
            )
        equal = differs_at is None
        tie = f"tied: {output} equals {embedding}" if equal else f"untied: {output} differs from {embedding}"
    return OutputMatrix(output, matrix, tie)


def named_matrix(stored: StoredTensors, config: ModelConfig, name: str) -> OutputMatrix:
    """The matrix that the user names: as it is stored, or dequantised where it is not stored as plain numbers.

    Raises:
        BadInput: it is not stored, is no matrix, or is quantised in a way that is not known.
    """
    found = None
    if name in stored and stored.raw(name).dtype not in _PLAIN:
        found = dequantised(stored, config, name)
    if found is None:
        return OutputMatrix(name, stored.matrix(name), f"chosen by hand: {name}")
    return _made(stored, found, f"chosen by hand: {name}")


def _quantised(stored: StoredTensors, layout: HeadLayout, config: ModelConfig) -> Dequantised | None:
    """The output matrix of its own that is stored quantised, or none."""
    made = (dequantised(stored, config, name, embedding=name in layout.embedding) for name in layout.output)
    found = [matrix for matrix in made if matrix is not None]
    plain = [name for name in layout.output if name in stored and (not found or name != found[0].names["weight"])]
    if not found:
        return None
    if len(found) > 1 or plain:
        names = [matrix.names["weight"] for matrix in found] + plain
        raise BadInput(
            f"{stored.where} has several heads, {some(names)}: get a clean copy of the model, or choose one with "
            "--weight-tensor NAME"
        )
    return found[0]


def _made(stored: StoredTensors, found: Dequantised, tie: str) -> OutputMatrix:
    product = (
        f"; in its product with it the model also {found.product}, so its own logits differ" if found.product else ""
    )
    note = (
        f"{stored.where}: the output matrix is stored quantised ({found.words}): every verdict is about the "
        f"dequantised matrix{product}"
    )
    others = {role: name for role, name in found.names.items() if role != "weight"}
    return OutputMatrix(found.names["weight"], found.matrix, f"{tie}: {found.words}", others, (note,))


def _quantiser_words(config: ModelConfig) -> str | None:
    found = quantiser(config)
    return None if found is None else found.words


def the_one_stored(stored: StoredTensors, candidates: tuple[str, ...]) -> str | None:
    """The one of several names of a tensor that is stored, or none.

    Raises:
        BadInput: several are stored, and they differ.
    """
    found = [name for name in candidates if name in stored]
    for other in found[1:]:
        if first_difference(stored.read(found[0]), stored.read(other)) is not None:
            raise BadInput(
                f"{stored.where} has both {found[0]} and {other}, and they differ: get a clean copy of the model, or "
                "name the one that it uses by hand"
            )
    return found[0] if found else None


def require_plain(
    stored: StoredTensors, name: str, by_hand: str = "", quantised: str | None = None, known: tuple[str, ...] = ()
) -> None:
    """Refuse a parameter beside which other tensors are stored that change what the model makes of it.

    Args:
        stored: the model's tensors.
        name: the parameter.
        by_hand: the end of the message: how another can be named.
        quantised: what the config says of a quantiser, or none.
        known: tensors that are known to be something else.

    Raises:
        BadInput: there are such tensors.
    """
    others = tuple(other for other in beside(stored.names, name) if other not in known)
    if others:
        raise BadInput(
            f"{stored.where}: {name} is not what the model computes with: {some(others)} change it"
            f"{_by(quantised)}: {_advice(others)}{by_hand}"
        )


def _stand_in(
    stored: StoredTensors, layout: HeadLayout, config: ModelConfig, embedding: str | None, tied: bool
) -> OutputMatrix:
    """The input embedding as the output matrix, if nothing speaks against it."""
    looked, quantised = ", ".join(layout.output), _quantiser_words(config)
    heads = [name for name in stored.names if is_head_like(name) and name not in (*layout.bias, *_known(layout))]
    if heads:
        raise BadInput(
            f"{stored.where} stores its head as {some(heads)}, not as a plain matrix {looked}{_by(quantised)}: "
            f"{_advice(heads)}{_BY_HAND}"
        )
    if embedding is None:
        raise BadInput(
            f"{stored.where} has no output matrix and no input embedding (looked for "
            f"{', '.join((*layout.output, *layout.embedding))}){_by(quantised)}: point at the head by hand with "
            f"{HOW_BY_HAND}"
        )
    advice = f"get the complete model, or, if {embedding} is its output matrix too, say --weight-tensor {embedding}"
    if not tied:
        what = "sets tie_word_embeddings to false" if config.says_tied is not None else "does not say tied, nor does"
        class_ = "" if config.says_tied is not None else f" {config.model_type} by default"
        raise BadInput(
            f"{stored.where} has no output matrix (looked for {looked}), and config.json {what}{class_}: {advice}"
        )
    if layout.learnt is None and has_head(config.class_name) is not True:
        named = f"names {config.class_name}" if config.class_name else "names no class (architectures)"
        raise BadInput(
            f"{stored.where} has no output matrix (looked for {looked}), and config.json {named}, so nothing says "
            f"that the model has a head: {advice}"
        )
    tie = f"tied: the file has no output matrix, the input embedding {embedding} serves"
    found = dequantised(stored, config, embedding, embedding=True)
    if found is not None:
        return _made(stored, found, tie)
    require_plain(stored, embedding, _BY_HAND, quantised, _known(layout))
    return OutputMatrix(embedding, stored.matrix(embedding), tie)


def _known(layout: HeadLayout) -> tuple[str, ...]:
    """Tensors that look like (a part of) an output matrix, and are known to be something else."""
    return () if layout.learnt is None else layout.learnt.beside


def _by(quantised: str | None) -> str:
    return "" if quantised is None else f" ({quantised})"


def _advice(names: tuple[str, ...] | list[str]) -> str:
    if of_an_adapter(names):
        return "that is an adapter which was not merged; merge it into the model and save that"
    return "that is quantised or otherwise changed; dequantise the model and save it as float16, bfloat16 or float32"
