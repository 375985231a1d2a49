"""Certificates of every kind, right, nearly right and wrong, put before the checkers: none proves what is not so.

The points and weights are those at which a token just begins to win, from an exact solver, rounded and pushed by
units in the last place; there floating point says the wrong thing as often as the right one.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from exact_solver import ExactHead, Vector
from heads import Head, random_head, seeds

from solvers.checks.exact import bound_by_weights, hull_membership, inside_domain, witness_beats
from solvers.checks.hull import hull_upper_bound, weights_fault
from solvers.checks.witness import beats_exactly, check_witnesses, close_rivals, single_competitor_bound
from solvers.domains import Free


def numbers(values: torch.Tensor) -> Vector:
    return [Fraction(x) for x in values.to(torch.float64).tolist()]


def rounded(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.copysign(1e300, value)


def candidate_points(head: Head, token: int, rng: np.random.Generator) -> torch.Tensor:
    """The critical point, a little further out and in, pushed by units in the last place; and a random one."""
    z, _ = head.exact.critical(token)
    centre = np.array([rounded(x) for x in z]) if z is not None else np.zeros(head.problem.d)
    size = float(np.abs(centre).max()) or 2.0 ** float(rng.integers(-4, 5))
    pushes = 1 + 2.0**-52 * rng.integers(-3, 4, (4, len(centre)))
    outwards = np.array([[1.0], [1 - 2.0**-30], [1 + 2.0**-20], [1.5]])
    # A step into the winning side: along the token's own row.
    row = np.array([rounded(x) for x in head.exact.rows[token]])
    step = row / max(float(np.abs(row).max()), 1e-300) * size * 2.0**-30
    points = np.concatenate([centre * pushes * outwards, [centre + step], [size * rng.standard_normal(len(centre))]])
    return torch.from_numpy(np.clip(np.nan_to_num(points), -1e300, 1e300))


def check_points(head: Head, token: int, rng: np.random.Generator) -> None:
    problem, exact = head.problem, head.exact
    wide = candidate_points(head, token, rng)
    for points in (wide, wide.to(torch.float32)):
        tokens = torch.full((len(points),), token)
        check = check_witnesses(problem, tokens, points, dtype=points.dtype)
        inside = inside_domain(problem.domain, points)
        for i, point in enumerate(points):
            if not bool(torch.isfinite(point).all()):
                assert check.lower[i] == -torch.inf
                continue
            z = numbers(point)
            logits = exact.logits(z)
            margin = logits[token] - max(logit for j, logit in enumerate(logits) if j != token)
            lower = float(check.lower[i])
            assert bool(inside[i]) == exact.holds(z)
            assert bool(inside[i]) or lower == -math.inf
            if math.isfinite(lower):
                assert Fraction(lower) <= margin
            others = np.delete(np.arange(problem.v), token)
            beaten = [logits[token] > logits[j] for j in others.tolist()]
            assert witness_beats(problem, token, point, others).tolist() == beaten
            unbeaten = {j for j, won in zip(others.tolist(), beaten, strict=True) if not won}
            assert unbeaten <= set(close_rivals(problem, token, point).tolist())
            if points.dtype == torch.float64:
                proved = beats_exactly(problem, token, point, lower, int(check.runner_up[i]))
                assert proved == (exact.holds(z) and not unbeaten)


def candidate_weights(head: Head, token: int, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """The critical weights, pushed by units in the last place, and random ones."""
    _, critical = head.exact.critical(token)
    others = np.delete(np.arange(head.problem.v), token)
    some = rng.permutation(others)[: rng.integers(1, len(others) + 1)]
    found = [(some, rng.dirichlet(np.full(len(some), 0.5))), (some[:1], np.ones(1))]
    if critical:
        rows = np.array(list(critical))
        weights = np.array([rounded(weight) for weight in critical.values()])
        found += [(rows, weights), (rows, weights * (1 + 2.0**-52 * rng.integers(-2, 3, len(rows))))]
    return found


def check_weights(head: Head, token: int, rng: np.random.Generator) -> None:
    problem, exact = head.problem, head.exact
    over = exact.where_margins_are()
    for rows, weights in candidate_weights(head, token, rng):
        assert weights_fault(problem, token, rows, weights) is None
        lam = dict(zip(rows.tolist(), numbers(torch.from_numpy(weights)), strict=True))
        bound = hull_upper_bound(problem, token, rows, weights)
        if not problem.margin_bounded:
            assert bound == math.inf
        elif math.isfinite(bound):
            assert over.dual_not_above(token, lam, Fraction(bound))
        assert bound_by_weights(problem, token, rows, weights) == exact.dual_not_above(token, lam, Fraction(0))
        if hull_membership(problem, token, rows) is not None:
            assert not wins_alone(exact, token)
        if bound < 0 or bound_by_weights(problem, token, rows, weights):
            assert not wins_alone(exact, token)


def wins_alone(exact: ExactHead, token: int) -> bool:
    return len(exact.equal_to(token)) == 1 and exact.wins(token)


def check_competitors(head: Head, token: int) -> None:
    problem, exact = head.problem, head.exact
    if isinstance(problem.domain, Free) and not problem.zero_offset:
        return
    over = exact.where_margins_are()
    rivals = torch.arange(problem.v)
    bounds = single_competitor_bound(problem, torch.full((problem.v,), token), rivals).tolist()
    for rival, bound in enumerate(bounds):
        if math.isfinite(bound):
            assert over.dual_not_above(token, {rival: Fraction(1)}, Fraction(bound))
        else:
            assert rival == token


@pytest.mark.parametrize("heads", seeds(3, of=6))
@pytest.mark.parametrize("kind", ["points", "weights", "competitors"])
def test_no_certificate_proves_what_is_not_so(kind: str, heads: range) -> None:
    for seed in heads:
        head, rng = random_head(seed), np.random.default_rng(seed)
        for token in range(min(head.problem.v, 5)):
            try:
                if kind == "points":
                    check_points(head, token, rng)
                elif kind == "weights":
                    check_weights(head, token, rng)
                else:
                    check_competitors(head, token)
            except AssertionError as error:
                raise AssertionError(f"random_head({seed}), {head.name}, token {token}: {error}") from error
