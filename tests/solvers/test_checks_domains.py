"""Domains: their geometry for searches against points and bounds, their certified versions against rational truth."""

from __future__ import annotations

import inspect
from fractions import Fraction

import numpy as np
import pytest
import torch
from exact_truth import exact_margin_at, fractions
from hypothesis import given, settings
from hypothesis import strategies as st
from proofs import UNDECIDED, verdicts
from scipy.optimize import minimize

from solvers import domains
from solvers.backend import Budget
from solvers.backends.batched_barrier import BatchedBarrier
from solvers.checks.domains import certified
from solvers.checks.exact import bound_by_weights, bound_is_not_positive, hull_membership, inside_domain
from solvers.checks.hull import hull_upper_bound
from solvers.checks.witness import beats_exactly, check_witnesses, single_competitor_bound
from solvers.domains import Ball, BallBox, Box, Domain, Ellipsoid, Free, Region
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem

FEW = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(["ball", "box", "ellipsoid", "ball-box"])


def domain_of(kind: str, rng: np.random.Generator, d: int) -> Domain:
    """A random domain of a kind; boxes need not hold 0."""
    lo = rng.uniform(-1, 0.4, d)
    box = Box(lo, lo + rng.uniform(0.2, 2, d))
    if kind == "box":
        return box
    if kind == "ball":
        return Ball(float(rng.uniform(0.1, 3)))
    if kind == "ball-box":
        nearest = float(np.linalg.norm(np.clip(0, box.lo, box.hi)))
        return BallBox(Ball((nearest + float(rng.uniform(0.05, 1))) ** 2), box)
    factor = rng.standard_normal((d, d)) + np.eye(d) * d
    return Ellipsoid(rng.standard_normal(d), factor, float(rng.uniform(0.5, 2)))


def contained(domain: Domain, z: torch.Tensor) -> bool:
    """Whether a point lies inside, in rational numbers and from the definition alone."""
    point = fractions(z)
    if isinstance(domain, Ellipsoid):
        # Cramer would do; Gauss is shorter. L x = z − μ.
        rows = [fractions(torch.from_numpy(row)) for row in domain.factor]
        rows = [[*row, a - m] for row, a, m in zip(rows, point, fractions(torch.from_numpy(domain.mu)), strict=True)]
        for i in range(len(rows)):
            pivot = next(k for k in range(i, len(rows)) if rows[k][i])
            rows[i], rows[pivot] = rows[pivot], rows[i]
            rows[i] = [x / rows[i][i] for x in rows[i]]
            for k in range(len(rows)):
                if k != i:
                    rows[k] = [x - rows[k][i] * y for x, y in zip(rows[k], rows[i], strict=True)]
        return sum(row[-1] ** 2 for row in rows) < Fraction(domain.radius) ** 2
    if isinstance(domain, BallBox):
        return contained(domain.ball, z) and contained(domain.box, z)
    if isinstance(domain, Ball):
        return sum(x * x for x in point) < Fraction(domain.squared_radius)
    assert isinstance(domain, Box)
    return all(Fraction(a) <= x <= Fraction(b) for a, x, b in zip(domain.lo, point, domain.hi, strict=True))


# --- geometry -----------------------------------------------------------------------------------------------------


@given(kind=kinds, seed=seeds, d=st.integers(1, 5))
@FEW
def test_points_that_a_domain_hands_out_lie_inside(kind: str, seed: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    domain = domain_of(kind, rng, d)
    anywhere = torch.from_numpy(10 * rng.standard_normal((20, d)))
    pulled = domain.pulled_in(anywhere)
    assert all(contained(domain, z) for z in pulled)
    assert all(contained(domain, z) for z in pulled.to(torch.float32))
    far = domain.farthest(anywhere[:1])[0]
    assert bool(torch.isfinite(far).all())
    assert contained(domain, far)
    centre, radius = certified(domain).enclosing_ball(d)
    assert ((torch.cat([pulled, far[None]]) - centre).norm(dim=1) <= radius).all()
    if domain.around_origin:
        assert contained(domain, torch.zeros(d))
        out = domain.stretch(anywhere)
        assert all(contained(domain, z) for z in out)
        assert not any(contained(domain, z) for z in out * (1 + 2.0**-10))
        unit = anywhere / anywhere.norm(dim=1, keepdim=True)
        assert torch.allclose(domain.longest(unit), out.norm(dim=1))


@given(kind=kinds, seed=seeds, d=st.integers(1, 5))
@FEW
def test_the_farthest_point_is_as_far_as_the_certified_bound(kind: str, seed: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    domain = domain_of(kind, rng, d)
    v = torch.from_numpy(rng.standard_normal(d))
    far = domain.farthest(v[None])[0]
    assert bool(torch.isfinite(far).all())
    bound = certified(domain).support(v, 0.0, rigorous=True, directions=False)
    reached = sum((a * b for a, b in zip(fractions(v), fractions(far), strict=True)), Fraction(0))
    assert reached <= Fraction(bound)
    centre, radius = certified(domain).enclosing_ball(d)
    size = float(v.norm()) * (float(centre.norm()) + radius)
    assert float(v @ far) >= bound - 1e-9 * size
    # A vector that is known up to an error gets room for it.
    assert certified(domain).support(v, 0.5, rigorous=True, directions=False) > bound


@given(kind=kinds, seed=seeds, d=st.integers(1, 4))
@FEW
def test_what_is_inside_is_decided_exactly(kind: str, seed: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    domain = domain_of(kind, rng, d)
    far = domain.farthest(torch.from_numpy(rng.standard_normal((1, d))))[0]
    assert bool(torch.isfinite(far).all())
    around = far * (1 + torch.from_numpy(2.0**-52 * rng.integers(-6, 7, (12, d))))
    points = torch.cat([around, torch.from_numpy(rng.standard_normal((12, d)))])
    for given_points in (points, points.to(torch.float32)):
        assert inside_domain(domain, given_points).tolist() == [contained(domain, z) for z in given_points]
    beyond = torch.full((2, d), torch.nan)
    beyond[1] = torch.inf
    assert not inside_domain(domain, beyond).any()


@given(kind=kinds, seed=seeds, d=st.integers(1, 4))
@FEW
def test_an_exact_bound_holds_at_every_point_and_leaves_little(kind: str, seed: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    domain = domain_of(kind, rng, d)
    size = 2.0 ** int(rng.integers(-200, 200))
    v = fractions(torch.from_numpy(size * rng.integers(-4, 5, d)))
    far = domain.farthest(torch.tensor([[float(x / Fraction(size)) for x in v]], dtype=torch.float64))
    z = far[0] if bool(torch.isfinite(far).all()) else domain.pulled_in(torch.zeros((1, d), dtype=torch.float64))[0]
    reached = sum((a * b for a, b in zip(v, fractions(z), strict=True)), Fraction(0))
    scale = Fraction(size) * Fraction(1, 10**8) * 4 * d
    assert not bound_is_not_positive(domain, v, scale - reached)
    assert bound_is_not_positive(domain, v, -reached - scale)


@given(seed=seeds, d=st.integers(1, 5))
@FEW
def test_a_region_cut_from_a_ball_by_a_box(seed: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    domain = domain_of("ball-box", rng, d)
    assert isinstance(domain, BallBox)
    region = domain.region(d)
    lo, hi = region.box
    radius = region.radius or domain.ball.radius

    def holds(x: torch.Tensor) -> bool:
        return bool((x >= lo - 1e-12).all() and (x <= hi + 1e-12).all() and float(x.norm()) <= radius + 1e-12)

    points = torch.from_numpy(3 * rng.standard_normal((8, d)))
    drawn = region.sample(8, torch.Generator().manual_seed(seed % 1000)).double()
    assert all(holds(x) or float((region.project(x[None]) - x).abs().max()) < 1e-6 for x in drawn)
    assert holds(region.interior)
    assert float(region.interior.norm()) < radius
    assert all(holds(x) for x in region.along(points))
    nearest = region.project(points)
    for x, at in zip(points, nearest, strict=True):
        assert holds(at)
        # The nearest point sees no other point of the region on the side of x.
        for other in (*nearest, *drawn, region.interior):
            assert float((x - at) @ (other - at)) <= 1e-6
    assert torch.allclose(region.support(points), (points * region.farthest(points)).sum(dim=1), atol=1e-9)
    middle, half, unit = region.in_units()
    assert torch.allclose(unit.support(points * half) + points @ middle, region.support(points), atol=1e-9)


def test_a_part_that_never_binds_is_left_out() -> None:
    box = Box([-1, -1], [1, 2])
    assert BallBox(Ball(1e80), box).region(2).radius is None
    assert BallBox(Ball(1.0), Box([-2, -2], [2, 2])).region(2).lo is None
    # Its size would set the units of every search, and leave the box too small to be seen.
    rows = [[3.0, 0], [0, 4], [1, 1], [-1, 0], [0, -1]]
    cut, plain = (ArgmaxProblem(torch.tensor(rows), domain) for domain in (BallBox(Ball(1e80), box), box))
    assert verdicts(cut) == verdicts(plain)


# --- verdicts -----------------------------------------------------------------------------------------------------


@given(seed=seeds, v=st.integers(2, 7), d=st.integers(1, 4))
@FEW
def test_an_ellipsoid_has_the_verdicts_of_its_ball(seed: int, v: int, d: int) -> None:
    """Over z = μ + L x the logits are (A L) x + c + A μ: all integers here, so both problems are the same numbers."""
    rng = np.random.default_rng(seed)
    factor = rng.integers(-2, 3, (d, d)) + np.diag(rng.choice([-5, 5], d))
    mu, rows = rng.integers(-2, 3, d), rng.integers(-3, 4, (v, d))
    bias = rng.integers(-5, 6, v)
    radius = float(rng.integers(1, 4))
    mine = ArgmaxProblem(
        torch.from_numpy(rows.astype(float)), Ellipsoid(mu, factor, radius), bias=torch.from_numpy(bias)
    )
    plain = ArgmaxProblem(
        torch.from_numpy((rows @ factor).astype(float)), Ball(radius**2), bias=torch.from_numpy(bias + rows @ mu)
    )
    for one, other in zip(verdicts(mine), verdicts(plain), strict=True):
        assert one == other or UNDECIDED in (one, other)


@given(kind=st.sampled_from(["ellipsoid", "ball-box"]), seed=seeds, v=st.integers(2, 7), d=st.integers(1, 4))
@FEW
def test_margins_are_those_of_a_general_solver(kind: str, seed: int, v: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    domain = domain_of(kind, rng, d)
    rows, bias = rng.standard_normal((v, d)), rng.standard_normal(v)
    problem = ArgmaxProblem(torch.from_numpy(rows), domain, bias=torch.from_numpy(bias))
    backend = BatchedBarrier()
    backend.prepare(problem)
    attempts = backend.solve(torch.arange(v), Budget(margin_gap=1e-7))
    for t in range(v):
        others = np.delete(np.arange(v), t)
        margin = general_margin(domain, rows[t] - rows[others], bias[t] - bias[others])
        pair = attempts.hulls.of(t)
        assert pair is not None
        upper = hull_upper_bound(problem, t, *pair)
        assert upper >= margin - 1e-5
        if abs(margin) > 1e-4:
            assert (upper < 0) == (margin < 0)
            assert beats(problem, t, attempts.points[t]) == (margin > 0)


def general_margin(domain: Domain, difference: np.ndarray, offset: np.ndarray) -> float:
    """max over (z, s) of s by sequential quadratic programming: slow, approximate, and nothing of this project."""
    d = difference.shape[1]
    if isinstance(domain, Ellipsoid):
        inverse = np.linalg.inv(domain.factor)
        start = domain.mu
        sets = [lambda x: domain.radius**2 - ((inverse @ (x[:d] - domain.mu)) ** 2).sum()]
    else:
        assert isinstance(domain, BallBox)
        start = domain.region(d).interior.numpy()
        sets = [
            lambda x: domain.ball.squared_radius - (x[:d] ** 2).sum(),
            lambda x: x[:d] - domain.box.lo,
            lambda x: domain.box.hi - x[:d],
        ]
    leads = [lambda x: difference @ x[:d] + offset - x[d]]
    found = minimize(
        lambda x: -x[d],
        np.append(start, (difference @ start + offset).min() - 1),
        constraints=[{"type": "ineq", "fun": one} for one in (*sets, *leads)],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    return float((difference @ found.x[:d] + offset).min())


def beats(problem: ArgmaxProblem, t: int, point: torch.Tensor) -> bool:
    """Whether a point is a witness, by its exact margin and the domain's definition."""
    return contained(problem.domain, point) and exact_margin_at(problem, t, point) > 0


# --- proofs apart from geometry -----------------------------------------------------------------------------------


def test_checkers_call_nothing_of_a_domains_geometry(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Free(), Ball(4.0), Box([-1, -1], [1, 1]), Ellipsoid([1, 0], np.eye(2), 2.0)]
    found.append(BallBox(Ball(4.0), Box([-1, -1], [1, 1])))
    posed = [ArgmaxProblem(torch.tensor([[3.0, 0], [0, 4], [1, 1]]), domain, bias=torch.ones(3)) for domain in found]
    for problem in posed:
        _ = problem.row_norm

    def lie(*_: object) -> object:
        raise AssertionError("a checker asked the domain")

    for kind in (Domain, *domains.DOMAINS.values(), Region):
        for name, member in list(vars(kind).items()):
            if inspect.isfunction(member) and not name.startswith("_"):
                monkeypatch.setattr(kind, name, lie)
    certified.cache_clear()
    for problem in posed:
        points = torch.tensor([[0.5, -0.5], [0.25, 0.5]], dtype=torch.float64)
        check = check_witnesses(problem, torch.tensor([0, 1]), points, own_scale=torch.ones(2, dtype=torch.float64))
        assert beats_exactly(problem, 0, points[0], float(check.lower[0]), int(check.runner_up[0]))
        hull_upper_bound(problem, 2, np.array([0, 1]), np.array([0.5, 0.5]))
        bound_by_weights(problem, 2, np.array([0, 1]), np.array([0.5, 0.5]))
        hull_membership(problem, 2, np.array([0, 1]))
        single_competitor_bound(problem, torch.tensor([0]), torch.tensor([1]))


def test_a_domain_of_which_nothing_is_proved_is_refused() -> None:
    class Other(Free):
        """Not known to the checkers."""

    with pytest.raises(TypeError, match="nothing is proved of domains of the kind Other"):
        certified(Other())


def test_containment_with_the_new_domains() -> None:
    round_ = Ellipsoid([1, 0], [[1, 0], [0, 0.5]], 1.0)
    cut = BallBox(Ball(4.0), Box([-1, -1], [1, 3]))

    def holds(outer: Domain, inner: Domain) -> bool:
        return certified(outer).holds(certified(inner))

    assert holds(Free(), round_)
    assert holds(Box([0, -0.5], [2, 0.5]), round_)
    assert not holds(Box([0, -0.5], [2, 0.49]), round_)
    assert not holds(Ball(3.9), round_)
    assert holds(Ball(4.1), round_)
    assert holds(round_, Ellipsoid([1, 0], [[1, 0], [0, 0.5]], 0.5))
    assert not holds(round_, Ball(0.01))
    assert holds(Ball(4.0), cut)
    assert holds(Box([-1, -1], [1, 3]), cut)
    assert holds(cut, cut)
    assert holds(cut, Box([-1, -1], [1, 1]))
    assert not holds(cut, Ball(4.0))
    assert not holds(cut, Free())


# --- words --------------------------------------------------------------------------------------------------------


def arrays(**values: object) -> object:
    return lambda _: {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}


def test_words_tell_domains_apart() -> None:
    one = Ellipsoid([1.0, 0], np.eye(2), 2.0)
    again = domains.parse("ellipsoid:any.npz", 2, arrays(mu=[1, 0], L=[1, 1], r=2))  # type: ignore[arg-type]
    assert again.describe() == one.describe()
    for other in (
        Ellipsoid([1.0, 2.0**-1000], np.eye(2), 2.0),
        Ellipsoid([1.0, 0], np.eye(2), 2.0 + 2.0**-51),
        Ellipsoid([1.0, 0], [[1, 2.0**-60], [0, 1]], 2.0),
    ):
        assert other.describe() != one.describe()
    cut = domains.parse("ball-box:sqrt(2),-1,0.5", 3)
    assert cut.describe() == "ball-box:sqrt(2),-1,0.5"
    assert domains.parse(cut.describe(), 3).describe() == cut.describe()
    assert domains.parse("ball-box:2,-1,0.5", 3).describe() == "ball-box:2,-1,0.5"
    assert domains.spoken(cut.describe()) == (
        "the part of the open ball of radius √2 ≈ 1.41421 with coordinates between −1 and 0.5"
    )
    assert str(domains.spoken(one.describe())).startswith("an ellipsoid (d = 2, r = 2, ")
    assert domains.spoken("cube:3") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("cube:3", "write free, ball:RADIUS, box:LO,HI, ellipsoid:FILE or ball-box:RADIUS,LO,HI"),
        ("ball-box:1", "write free"),
        ("ball-box:1,2", "write free"),
        ("ball-box:x,1,2", "write free"),
        ("ball-box:1,2,3", "the box lies outside the ball"),
        ("ball-box:-1,0,1", "a finite radius > 0"),
        ("ball-box:1,1,0", "lo < hi"),
        ("ellipsoid:", "write free"),
        ("ellipsoid:x.npz", "the file x.npz is not read here"),
    ],
)
def test_broken_words_are_refused(text: str, reason: str) -> None:
    with pytest.raises(BadInput) as caught:
        domains.parse(text, 2)
    assert str(caught.value).startswith(f"{text}: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"mu": [0, 0], "L": np.eye(2)}, "has no r"),
        ({"mu": [0, 0], "L": np.eye(2), "r": 1, "x": 1}, "holds x"),
        ({"mu": [0, 0, 0], "L": np.eye(2), "r": 1}, "the rows ask for mu (2,)"),
        ({"mu": [0, 0], "L": np.eye(3), "r": 1}, "the rows ask for"),
        ({"mu": [0, 0], "L": np.eye(2), "r": [1, 2]}, "one number r"),
        ({"mu": [0, np.nan], "L": np.eye(2), "r": 1}, "finite numbers"),
        ({"mu": [0, 0], "L": np.eye(2), "r": -1}, "a finite r > 0"),
        ({"mu": [0, 0], "L": [[1, 1], [1, 1]], "r": 1}, "flat"),
        ({"mu": [0, 0], "L": [[1, 1], [1, 1 + 2.0**-50]], "r": 1}, "too thin"),
        ({"mu": [1e18, 0], "L": np.eye(2), "r": 1}, "too far off"),
    ],
)
def test_files_that_make_no_ellipsoid_are_refused(values: dict[str, object], reason: str) -> None:
    with pytest.raises(BadInput) as caught:
        domains.parse("ellipsoid:e.npz", 2, arrays(**values))  # type: ignore[arg-type]
    assert reason in str(caught.value)


def test_the_domain_of_another_size_is_refused() -> None:
    for domain in (Ellipsoid([1.0, 0], np.eye(2), 2.0), BallBox(Ball(4.0), Box([-1, -1], [1, 1]))):
        with pytest.raises(BadInput, match=f"the {domain.word} has 2 coordinates, but the rows have 3"):
            ArgmaxProblem(torch.eye(3), domain)
