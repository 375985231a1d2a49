"""Which stored matrix is the output matrix? One stored as such, or the input embedding where that is certain."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from reach.heads.config import ModelConfig
from reach.heads.head_class import has_head
from reach.heads.layout import HeadLayout
from reach.heads.overrides import HOW_BY_HAND
from reach.heads.quantised import quantiser
from reach.heads.tensor_names import beside, is_head_like, of_an_adapter, some
from reach.heads.weights import StoredTensors, first_difference
from solvers.errors import BadInput

_BY_HAND = ", or choose a stored matrix with --weight-tensor NAME"


def output_matrix(
    stored: StoredTensors, layout: HeadLayout, config: ModelConfig
) -> tuple[str, Float[Tensor, "v d"], str]:
    """Find the output matrix of a known architecture.

    The input embedding stands in only where the config says tied, its class has a head, and no tensor is named like
    one: a head that is quantised or changed by an adapter is stored under another name.

    Returns:
        Its tensor name, the `(v, d)` matrix, and a sentence on how it relates to the input embedding.

    Raises:
        BadInput: no matrix is known to be the output matrix, other tensors change it, or the config says tied while
            two stored matrices differ.
    """
    # What a model's own code makes of the entry is known where it was asked.
    said = config.says_tied if layout.learnt is None else None
    tied = layout.tied if said is None else said
    how = quantiser(config)
    output, embedding = the_one_stored(stored, layout.output), the_one_stored(stored, layout.embedding)
    if output is None:
        return _stand_in(stored, layout, config, embedding, tied)
    require_plain(stored, output, _BY_HAND, how, _known(layout))
    matrix = stored.matrix(output)
    if embedding is None:
        return output, matrix, f"untied: {output} serves, and the file has no input embedding to compare it with"
    if not tied and not stored.at_hand(embedding):
        # The output matrix serves either way; a whole shard is not fetched for the sake of a sentence.
        return output, matrix, f"untied: {output} serves, as the config says; not compared with {embedding}"
    differs_at = first_difference(matrix, stored.read(embedding))
    if differs_at is None:
        return output, matrix, f"tied: {output} equals {embedding}"
    if tied:
        reason = "sets tie_word_embeddings" if said is not None else f"leaves {config.model_type} tied, its default"
        raise BadInput(
            f"{config.path} {reason}, yet {output} and {embedding} differ (first in row {differs_at}): choose the "
            f"head with --weight-tensor {output} or --weight-tensor {embedding}"
        )
    return output, matrix, f"untied: {output} differs from {embedding}"


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
) -> tuple[str, Float[Tensor, "v d"], str]:
    """The input embedding as the output matrix, if nothing speaks against it."""
    looked, quantised = ", ".join(layout.output), quantiser(config)
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
    require_plain(stored, embedding, _BY_HAND, quantised, _known(layout))
    return (
        embedding,
        stored.matrix(embedding),
        f"tied: the file has no output matrix, the input embedding {embedding} serves",
    )


def _known(layout: HeadLayout) -> tuple[str, ...]:
    """Tensors that look like (a part of) an output matrix, and are known to be something else."""
    return () if layout.learnt is None else layout.learnt.beside


def _by(quantised: str | None) -> str:
    return "" if quantised is None else f" ({quantised})"


def _advice(names: tuple[str, ...] | list[str]) -> str:
    if of_an_adapter(names):
        return "that is an adapter which was not merged; merge it into the model and save that"
    return "that is quantised or otherwise changed; dequantise the model and save it as float16, bfloat16 or float32"
