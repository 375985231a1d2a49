"""What a comparison may take, from its options alone.

With B = `--backend-seconds`, N backends and J jobs, r = ⌈N/J⌉ of them one after the other, the tokens of the model
take at most r·B. The strength takes, besides,

    r · 2 · B/4     the random controls, each backend on each
    r · 8 · B/4     the planted heads, each backend on each (4) under each number of iterations (2)
    5 · B           hidden tokens, five methods: a quick one leaves its time to the next
    4 · B           scans of the controls (2) and of the head over other domains (2)

which makes r·B in all without the strength, and 3.5·r·B + 9·B with it. Not in this are the start of a backend's
process (up to three for each, importing its library and preparing the problems), what a backend takes beyond the
seconds it was given (it is stopped after as many again, at least one and at most ten), and reading and writing.
"""

from __future__ import annotations

import math

from reach.compare import detection, heads, hidden
from reach.compare.settings import CompareSettings


def longest(settings: CompareSettings) -> float:
    """Seconds that a comparison with these settings takes at most, starts and overruns aside."""
    rounds = math.ceil(len(settings.backends) / settings.jobs)
    parts = 1.0 * rounds
    if settings.strength:
        parts += rounds * len(heads.CONTROLS) * heads.CONTROL_PART
        parts += rounds * len(detection.SHAPES) * len(detection.BUDGETS) * detection.PART
        parts += len(hidden.METHODS) + len(heads.CONTROLS) + heads.DOMAINS
    return parts * settings.backend_seconds
