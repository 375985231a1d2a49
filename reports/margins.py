"""Which histograms a scan gets."""

from __future__ import annotations

import numpy as np

from reach.verdicts import Verdicts
from reports.histogram import Histogram, Values, histogram, scale_for


def margin_histograms(tokens: Verdicts, control: dict[str, Values] | None = None) -> list[Histogram]:
    """Unspeakable, hard-to-speak and own-direction tokens, those of them that the run has.

    The two speakable groups share one axis, so that they can be compared. Each is shown beside the same group of the
    random control, if there is one.
    """
    beside = control or {}
    groups = _groups(tokens)
    drawn = []
    if len(groups["unspeakable"]):
        drawn.append(
            histogram(
                groups["unspeakable"],
                key="unspeakable",
                title="Unspeakable: how far below",
                axis="margin at most, in logits",
                negative=True,
                control=beside.get("unspeakable"),
            )
        )
    shared = [every[key] for every in (groups, beside) for key in ("hard", "speakable") if key in every]
    sizes = _positive(np.concatenate(shared))
    scale = scale_for(sizes) if len(sizes) else None
    for key, title in (("hard", "Hard-to-speak: how far above"), ("speakable", "Own-direction: how far above")):
        if len(groups[key]):
            axis = "margin at least, in logits"
            drawn.append(
                histogram(groups[key], key=key, title=title, axis=axis, scale=scale, control=beside.get(key))
            )
    return drawn


def _groups(tokens: Verdicts) -> dict[str, Values]:
    return {
        "unspeakable": tokens.margin_upper[tokens.unspeakable],
        "hard": tokens.margin_lower[tokens.hard_to_speak],
        "speakable": tokens.margin_lower[tokens.ids("own-direction")],
    }


def _positive(values: Values) -> Values:
    return values[np.isfinite(values) & (values > 0)]
