"""Which stored matrix is the output matrix? Decided by the tensors, never by the config's word alone."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from reach.heads.config import ModelConfig
from reach.heads.layout import HeadLayout
from reach.heads.overrides import HOW_BY_HAND
from reach.heads.weights import StoredTensors, first_difference
from solvers.errors import BadInput


def output_matrix(
    stored: StoredTensors, layout: HeadLayout, config: ModelConfig
) -> tuple[str, Float[Tensor, "v d"], str]:
    """Find the output matrix of a known architecture.

    Returns:
        Its tensor name, the `(v, d)` matrix, and a sentence on how it relates to the input embedding.

    Raises:
        BadInput: neither matrix is stored, or the config says tied while two stored matrices differ.
    """
    said = config.get("tie_word_embeddings")
    tied = layout.tied if said is None else bool(said)
    output, embedding = stored.first(layout.output), stored.first(layout.embedding)
    if output is None and embedding is None:
        raise BadInput(
            f"{stored.where} has no output matrix and no input embedding (looked for "
            f"{', '.join((*layout.output, *layout.embedding))}): point at the head by hand with {HOW_BY_HAND}"
        )
    if output is None:
        assert embedding is not None
        if tied:
            tie = f"tied: the file has no output matrix, the input embedding {embedding} serves"
        else:
            tie = (
                f"tied: the config says untied, yet the file has no output matrix (looked for "
                f"{', '.join(layout.output)}), so the input embedding {embedding} serves"
            )
        return embedding, stored.matrix(embedding), tie
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
        how = "sets tie_word_embeddings" if said is not None else f"leaves {config.model_type} tied, its default"
        raise BadInput(
            f"{config.path} {how}, yet {output} and {embedding} differ (first in row {differs_at}): choose the head "
            f"with --weight-tensor {output} or --weight-tensor {embedding}"
        )
    return output, matrix, f"untied: {output} differs from {embedding}"
