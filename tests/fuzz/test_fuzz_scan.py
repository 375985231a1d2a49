"""The real scan against an exact solver of another make, on heads of every kind: no wrong verdict, no wrong bound.

`python scripts/fuzz.py --times 100` runs a hundred times as many, with other seeds.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from exact_solver import InBall, InBox
from heads import Head, random_head, seeds

from reach.scanning import own_row
from reach.scanning.scan import ScanResult, scan
from reach.scanning.settings import ScanSettings
from reach.scanning.state import OPEN, SPEAKABLE, UNSPEAKABLE

CLEAR = Fraction(1, 10**5)
"""How far from touching, relatively, a margin is clear, so that a verdict is owed."""


def verdict_of(result: ScanResult, token: int) -> str:
    """What the scan says about a token, equal rows included."""
    alone = int((result.merged.first_of == result.merged.first_of[token]).sum()) == 1
    row = int(result.merged.row_of[token])
    if len(result.merged.token_of) == 1:
        return "tied"
    said = int(result.state.verdict[row])
    if said == OPEN:
        return "undecided"
    if said == UNSPEAKABLE:
        return "unspeakable"
    assert said == SPEAKABLE
    return "speakable" if alone else "tied"


def is_clear(head: Head, token: int) -> bool:
    """Whether a verdict is owed: few digits, and far from touching."""
    if not head.coarse:
        return False
    exact = head.exact
    if isinstance(exact.region, InBall):
        square = exact.least_square(token)
        return square is None or abs(square - exact.region.square) > CLEAR * exact.region.square
    if isinstance(exact.region, InBox) and len(exact.equal_to(token)) < exact.v:
        return exact.margin(token) != 0
    return True


def check_head(head: Head, settings: ScanSettings) -> Counter[str]:
    """Scan a head and compare every verdict and every bound with the exact ones."""
    result = scan(head.problem, settings)
    seen: Counter[str] = Counter()
    over = head.exact.where_margins_are()
    for token in range(head.problem.v):
        said, true = verdict_of(result, token), head.exact.verdict(token)
        assert said in {true, "undecided"}, f"{head.name}: token {token} is {true}, not {said}"
        assert said != "undecided" or not is_clear(head, token), f"{head.name}: token {token} is {true}, undecided"
        seen[said] += 1
        row = int(result.merged.row_of[token])
        lower, upper = float(result.state.lower[row]), float(result.state.upper[row])
        if not head.problem.margin_bounded or len(result.merged.token_of) == 1:
            continue
        if np.isfinite(lower):
            assert over.reaches(token, Fraction(lower)), f"{head.name}: the margin of token {token} is below {lower}"
        if np.isfinite(upper):
            assert not over.wins(token, Fraction(upper)), f"{head.name}: that of token {token} exceeds {upper}"
    return seen


@pytest.mark.parametrize("heads", seeds(12, of=10))
def test_every_verdict_and_bound_is_true(heads: range, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[str] = Counter()
    for seed in heads:
        # However small the head, the rows share their products; of five heads in two they do not.
        monkeypatch.setattr(own_row, "_SHARED_WORK", 0.0 if seed % 5 < 3 else np.inf)
        settings = ScanSettings(
            exact=seed % 3 == 0, margin_gap=0.01 if seed % 4 == 0 else None, block_tokens=(5, 4096)[seed % 2]
        )
        try:
            seen += check_head(random_head(seed), settings)
        except Exception as error:
            raise AssertionError(f"random_head({seed}): {error}") from error
    assert seen["undecided"] <= 0.1 * seen.total()
