"""The tables of a run folder, column by column (docs/certificates.md describes them for readers)."""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 1

VERDICTS = pa.schema(
    [
        ("token_id", pa.int32()),
        ("token", pa.string()),  # the vocabulary's own piece; null where the tokenizer has no entry for the row
        ("text", pa.string()),  # what the piece decodes to, where it is whole text; else null
        ("verdict", pa.string()),  # speakable | tied | unspeakable | undecided; null for tokens not asked for
        ("evidence", pa.string()),  # float64 | rigorous | exact; null when undecided
        ("own_direction", pa.bool_()),
        ("margin_lower", pa.float64()),  # logits; null where no witness is known
        ("margin_upper", pa.float64()),  # logits; null where no bound is known
        ("stage", pa.string()),
        ("runner_up_id", pa.int32()),  # the closest competitor at the witness, or the heaviest blocker
        ("row_norm", pa.float64()),
        ("reason", pa.string()),  # null unless undecided
        ("witness", pa.string()),  # own-row | centred-row (recipes) | stored; null without a witness
        ("argmax_id", pa.int32()),  # for tied tokens: the id of the class that argmax returns; else null
        ("winning_logit", pa.float64()),  # the token's own logit at its witness; null without one
        ("nearly_never", pa.string()),  # float32 | bfloat16: the finest format in which it is so; else null
    ]
)
LATER_COLUMNS = ("winning_logit", "nearly_never")
"""Columns that runs of earlier versions lack. They are read as null: not known."""

HULL_WEIGHTS = pa.schema([("token_id", pa.int32()), ("row_id", pa.int32()), ("weight", pa.float64())])

# What bounds the margins of the nearly-never tokens from above, in the form of `HULL_WEIGHTS`.
MARGIN_WEIGHTS = HULL_WEIGHTS

# Each token's nearest rows, the nearest first: information, no part of a proof. Not every token has some.
NEAREST = pa.schema(
    [("token_id", pa.int32()), ("row_id", pa.int32()), ("cosine", pa.float64()), ("distance", pa.float64())]
)

# Verdicts and margins of random heads of the same shape, which `compare-solvers` scans beside the model's.
CONTROLS = pa.schema(
    [
        ("control", pa.string()),
        ("verdict", pa.string()),
        ("own_direction", pa.bool_()),
        ("margin_lower", pa.float64()),
        ("margin_upper", pa.float64()),
    ]
)

# How probable softmax can make each token, in ln p: bounds on the supremum over the domain.
CEILINGS = pa.schema(
    [
        ("token_id", pa.int32()),
        ("log_probability_lower", pa.float64()),  # null where nothing is known
        ("log_probability_upper", pa.float64()),
        ("certificate", pa.string()),  # margin | point; null where the lower bound is
    ]
)
CEILING_CERTIFICATES = ("margin", "point")

# Tokens that a single other one keeps from the top, everywhere in a ball.
SILENCERS = pa.schema(
    [
        ("token_id", pa.int32()),
        ("count", pa.int32()),  # other tokens that do so alone
        ("strongest", pa.list_(pa.int32())),  # the ids of a few, the strongest first
        ("bound", pa.list_(pa.float64())),  # what each bounds the margin by, logits
    ]
)

# What a server returns that computes in a format: one row per format and token that was asked for.
SERVED = pa.schema(
    [
        ("token_id", pa.int32()),
        ("arithmetic", pa.string()),  # float32 | bfloat16 | float16
        ("served", pa.string()),  # one of SERVED_NAMES: what follows from the next two
        ("returned", pa.string()),  # alone | every-order | one-order: what a point proves; null where none does
        ("barred", pa.string()),  # never | not-every-order | not-alone: what weights prove; null where none do
        ("point", pa.string()),  # own-row | centred-row (recipes) | stored; null without a point
        ("orders", pa.string()),  # of one-order: how the token's own row is summed, a slash, how all others are
    ]
)
SERVED_NAMES = ("every-order", "tie", "order", "never", "undecided")

# What proves that tokens are barred, in the form of `HULL_WEIGHTS`; a single weight may stand for an equal row.
SERVED_WEIGHTS = pa.schema([("arithmetic", pa.string()), *HULL_WEIGHTS])

# What tokens are, with the evidence: a row for each category of each token (`reach.categories.catalogue`).
CATEGORIES = pa.schema(
    [
        ("token_id", pa.int32()),
        ("category", pa.string()),
        ("detail", pa.string()),  # the evidence in words, which hold no token's text; null where there is no more
        ("group", pa.int32()),  # shared by the tokens that belong together; else null
        ("others", pa.list_(pa.int32())),  # ids of tokens that the evidence is about
    ]
)

# Tokens that an indicator of under-training puts among its most suspect: information, no part of a proof.
SUSPECTS = pa.schema(
    [
        ("token_id", pa.int32()),
        ("indicator", pa.string()),  # its title
        ("matrix", pa.string()),
        ("rank", pa.int32()),  # 1 is the smallest value, the most suspect; equal values share a rank
        ("tokens", pa.int32()),  # how many were ranked
        ("value", pa.float64()),
    ]
)

# Weights over few blockers that still prove an unspeakable token so, and the bound on its margin that they give.
FEW_BLOCKERS = pa.schema([*HULL_WEIGHTS, ("margin_upper", pa.float64())])

VERDICT_NAMES = ("speakable", "tied", "unspeakable", "undecided")
EVIDENCE_NAMES = ("float64", "rigorous", "exact")
