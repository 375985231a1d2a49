"""Where one architecture keeps its head."""

from __future__ import annotations

from dataclasses import dataclass

from reach.heads.overrides import NormForm


@dataclass(frozen=True)
class LearntSettings:
    """Numbers that an entry takes from the config, and that the model's own code has shown where there is no entry.

    Attributes:
        eps: of the norm; none without one.
        factor, power: logits are multiplied by factor·d^power at width d.
        softcap: cap on the logits, or none.
        rows: number of rows of the output matrix; none where that is not known.
        beside: stored tensors that look like an output matrix, and are something else.
        note: what a reader of verdicts should know, or an empty string.
    """

    eps: float | None
    factor: float
    power: float
    softcap: float | None
    rows: int | None
    beside: tuple[str, ...]
    note: str


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
        learnt: what was found out about a class without an entry; none for an entry.
        found_by: how the layout is known, for a person.
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
    learnt: LearntSettings | None = None
    found_by: str = "table"
