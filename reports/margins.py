"""Which histograms a scan gets."""

from __future__ import annotations

import numpy as np

from reach.runs.schema import VERDICT_NAMES
from reports.histogram import Histogram, Values, histogram, scale_for
from reports.tokens import Tokens


def margin_histograms(tokens: Tokens) -> list[Histogram]:
    """Unspeakable, hard-to-speak and own-direction tokens, those of them that the run has.

    The two speakable groups share one axis, so that they can be compared.
    """
    speakable = tokens.verdict == VERDICT_NAMES.index("speakable")
    hard = tokens.hard_to_speak
    drawn = []
    never = tokens.margin_upper[tokens.ids("unspeakable")]
    if len(never):
        drawn.append(
            histogram(
                never,
                key="unspeakable",
                title="Unspeakable: how far below",
                axis="margin at most, in logits",
                negative=True,
            )
        )
    sizes = _positive(tokens.margin_lower[speakable])
    scale = scale_for(sizes) if len(sizes) else None
    for key, title, rows in (
        ("hard", "Hard-to-speak: how far above", hard),
        ("speakable", "Own-direction: how far above", speakable & ~hard),
    ):
        if rows.any():
            axis = "margin at least, in logits"
            drawn.append(histogram(tokens.margin_lower[rows], key=key, title=title, axis=axis, scale=scale))
    return drawn


def _positive(values: Values) -> Values:
    return values[np.isfinite(values) & (values > 0)]
