"""Where one architecture keeps its head."""

from __future__ import annotations

from dataclasses import dataclass

from reach.heads.overrides import NormForm


@dataclass(frozen=True)
class HeadLayout:
    """Names to look for and settings to read; each tuple of names is tried in order.

    Attributes:
        embedding: names of the input embedding.
        output: names of an output matrix of its own.
        bias: names of the output bias; empty where the architecture has none.
        norm: form of the final norm.
        gamma: names of the norm's factors; empty where it has none.
        beta: names of the norm's shift; empty where it has none.
        projection: names of a `(width of the output matrix, width of the norm)` matrix between norm and output.
        eps_keys: config entries that hold the norm's eps, tried in order.
        eps_default: the eps where the config holds none of them.
        tied: whether an absent `tie_word_embeddings` means tied.
        vocab_default: number of rows where the config may leave out `vocab_size`.
    """

    embedding: tuple[str, ...]
    output: tuple[str, ...]
    norm: NormForm
    gamma: tuple[str, ...] = ()
    beta: tuple[str, ...] = ()
    bias: tuple[str, ...] = ()
    projection: tuple[str, ...] = ()
    eps_keys: tuple[str, ...] = ()
    eps_default: float | None = None
    tied: bool = False
    vocab_default: int | None = None
