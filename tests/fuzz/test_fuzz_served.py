"""Random heads as they are served: what is proved is replayed in torch and numpy, in many orders of summation.

A replay is one point in one way of computing. FUZZ_TIMES=30 makes more than a million of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from heads import seeds

import reach
from solvers.checks.served_head import BIASES, NORMS, TIES
from solvers.formats import FORMATS

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))

from served_replays import replay


@pytest.mark.parametrize("heads", seeds(2, 2), ids=str)
def test_replays_contradict_nothing(heads: range) -> None:
    count = 0
    for number in heads:
        count += replays_of(np.random.default_rng([number, 5]))
    assert count > 1000 * len(heads)


def replays_of(rng: np.random.Generator) -> int:
    """Scan one head, replay it, and say how many replays there were."""
    v, d = int(rng.integers(20, 90)), int(rng.integers(2, 24))
    rows = rng.standard_normal((v, d)) + rng.standard_normal(d) * rng.choice([0, 3])
    offsets = rng.standard_normal(v) * rng.choice([0.03, 1.0])
    for token in rng.choice(v, v // 3, replace=False).tolist():
        # A mixture of others, a little above or below it; some so near a row that a format takes them for one.
        others = rng.choice(v, 3, replace=False)
        share = rng.dirichlet(np.ones(3))
        rows[token] = share @ rows[others] * (1 + 2.0 ** -rng.integers(6, 20))
        offsets[token] = share @ offsets[others] + rng.choice([-1, -1, 1]) * 10.0 ** rng.uniform(-5, 0)
    arrays = {
        "W": rows.astype(np.float32),
        "gamma": rng.uniform(0.3, 2, d),
        "norm": str(rng.choice(["rmsnorm", "layernorm"])),
    }
    if rng.random() < 0.7:
        arrays["b"] = offsets
    if arrays["norm"] == "layernorm" or rng.random() < 0.3:
        arrays["beta"] = rng.standard_normal(d)
    head = reach.load(arrays)
    verdicts = reach.scan(
        head, arithmetic=[form.name for form in FORMATS], ties=str(rng.choice(TIES)), progress=lambda *_: None,
        bias_added=str(rng.choice(BIASES)), norm_rounded=str(rng.choice(NORMS)), jobs=1,
    )  # fmt: skip
    assert verdicts.verify().ok
    tallies = replay(verdicts, head.problem(), points=1000, seed=int(rng.integers(2**31)))
    assert not any(tally.wrong for tally in tallies.values()), tallies
    return sum(sum(tally.replays.values()) for tally in tallies.values())
