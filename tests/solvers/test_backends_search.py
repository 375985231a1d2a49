"""Sampling, reflection and ascent: what they find, what they count, and where they are known to be wrong."""

from __future__ import annotations

import pytest
import torch
from known_answers import problem_of
from proofs import wins_exactly

from solvers import registry
from solvers.attempt import Status
from solvers.backend import Budget
from solvers.backends.random_directions import RandomDirections, _Images
from solvers.backends.reflection import Reflection
from solvers.domains import Ball, Box, Free
from solvers.problem import ArgmaxProblem
from solvers.search_space import SearchSpace

AXES = [[1, 0], [-1, 0], [0, 1], [0, -1]]
ASCENTS = ("adam", "sgd", "lbfgs", "reflection")


def gaussian(v: int, d: int, domain: object = None, offsets: bool = False) -> ArgmaxProblem:
    generator = torch.Generator().manual_seed(1)
    bias = torch.randn(v, generator=generator, dtype=torch.float64) if offsets else None
    return ArgmaxProblem(torch.randn((v, d), generator=generator), domain or Free(), bias=bias)


def sampled(problem: ArgmaxProblem, seed: int = 0) -> RandomDirections:
    backend = RandomDirections(seed=seed)
    backend.prepare(problem)
    return backend


def test_every_row_that_a_sample_hits_is_credited_with_its_point() -> None:
    problem = gaussian(40, 4)
    attempts = sampled(problem).solve(torch.tensor([0]), Budget(iterations=2000))
    assert len(attempts.seen_rows) > 15
    assert 0 not in attempts.seen_rows
    assert attempts.seen_points is not None
    for row, point in zip(attempts.seen_rows.tolist(), attempts.seen_points, strict=True):
        assert wins_exactly(problem, row, point)


def test_four_axes_are_hit_a_quarter_of_the_time_each() -> None:
    backend = sampled(problem_of([*AXES, [0, 0]]))
    backend.solve(torch.arange(5), Budget(iterations=10_000))
    assert backend.samples == 10_000
    assert int(backend.hit_counts.sum()) == 10_000
    assert backend.hit_counts[4] == 0  # 0 is the mean of opposite rows
    assert ((backend.hit_counts[:4] - 2500).abs() < 5 * (10_000 * 0.25 * 0.75) ** 0.5).all()


def test_another_seed_adds_to_the_counts_and_the_same_seed_does_not() -> None:
    backend = sampled(problem_of(AXES))
    budget = Budget(iterations=500)
    backend.solve(torch.arange(4), budget)
    first = backend.hit_counts
    backend.solve(torch.arange(4), budget)
    assert torch.equal(backend.hit_counts, first)
    backend.seed = 1
    backend.solve(torch.arange(4), budget)
    assert backend.samples == 1000
    assert int(backend.hit_counts.sum()) == 1000
    backend.prepare(problem_of(AXES))
    assert backend.samples == 0


@pytest.mark.parametrize("offsets", [False, True], ids=["no-offsets", "offsets"])
@pytest.mark.parametrize(
    "domain",
    [Free(), Ball(3.0), Box(torch.full((4,), -2.0).numpy(), torch.ones(4).numpy())],
    ids=["free", "ball", "box"],
)
@pytest.mark.parametrize("most", [1, 6, 7, 500])
def test_mirror_images_are_priced_like_any_point(domain: object, offsets: bool, most: int) -> None:
    space = SearchSpace(gaussian(30, 4, domain, offsets))
    drawn = space.sample(40, torch.Generator().manual_seed(0))
    parts = list(_Images(space).winners(drawn, most))
    points, winner, margin = (torch.cat(part) for part in zip(*parts, strict=True))
    assert len(points) == min(most, 80 if space.margins else 40)
    assert torch.allclose(points, space.region.project(points), atol=1e-6)
    best = (points @ space.rows32.T + space.offset32).topk(2, dim=1)
    assert torch.equal(winner, best.indices[:, 0])
    assert torch.allclose(margin, best.values[:, 0] - best.values[:, 1], atol=1e-5)


def test_once_all_that_were_asked_for_have_won_nothing_more_is_drawn() -> None:
    backend = sampled(problem_of(AXES))
    assert backend.solve(torch.arange(4), Budget()).status == [Status.WITNESS] * 4
    assert backend.samples < 100_000
    backend.solve(torch.arange(4), Budget(iterations=100_000))
    assert backend.samples == 100_000


@pytest.mark.parametrize(("rows", "columns", "samples"), [(100, 3, 100_000), (20_000, 400, 50_000)])
def test_large_heads_get_fewer_samples_unless_asked_otherwise(rows: int, columns: int, samples: int) -> None:
    """The budget's clock stops the drawing after the first block: only the number is of interest."""
    backend = sampled(gaussian(rows, columns))
    backend.solve(torch.arange(rows), Budget(seconds=1e-9))
    assert backend.effective_options["samples"] == samples
    backend.solve(torch.arange(rows), Budget(seconds=1e-9, iterations=70_000))
    assert backend.effective_options["samples"] == 70_000


def test_equal_rows_never_hit_strictly() -> None:
    backend = sampled(problem_of([[1, 0], [1, 0], [-1, 0]]))
    backend.solve(torch.arange(3), Budget(iterations=1000))
    assert backend.hit_counts[:2].tolist() == [0, 0]
    assert 300 < int(backend.hit_counts[2]) < 700


def test_a_row_that_wins_only_inside_the_ball_is_missed_by_samples_of_its_surface() -> None:
    # 0 wins where |z₁| < ½ and |z₂| < ½, well inside radius 2. The method claims nothing of it.
    attempts = sampled(problem_of([*AXES, [0, 0]], Ball(4), [0, 0, 0, 0, 0.5])).solve(torch.tensor([4]), Budget())
    assert attempts.status == [Status.GAVE_UP]


@pytest.mark.parametrize("name", ASCENTS)
@pytest.mark.parametrize("offsets", [False, True], ids=["no-offsets", "offsets"])
@pytest.mark.parametrize(
    "domain",
    [Free(), Ball(8.0), Box(torch.full((8,), -2.0).numpy(), torch.ones(8).numpy())],
    ids=["free", "ball", "box"],
)
def test_searches_find_most_of_what_there_is(name: str, offsets: bool, domain: object) -> None:
    # 200 Gaussian rows in 8 dimensions: nearly all are extreme; the complete method says which can win.
    problem = gaussian(200, 8, domain, offsets)
    rows = torch.arange(0, 200, 10)
    truth, tried = (registry.backend(which)() for which in ("batched-barrier", name))
    truth.prepare(problem)
    tried.prepare(problem)
    can = {i for i, status in enumerate(truth.solve(rows, Budget()).status) if status is Status.WITNESS}
    attempts = tried.solve(rows, Budget())
    found = {i for i, status in enumerate(attempts.status) if status is Status.WITNESS}
    assert found <= can
    assert all(wins_exactly(problem, int(rows[i]), attempts.points[i]) for i in found)
    assert len(found) >= 0.8 * len(can)


@pytest.mark.parametrize("name", ["adam", "sgd", "lbfgs"])
def test_an_asked_for_margin_is_climbed_to(name: str) -> None:
    # Three unit vectors: the margin √1.5 is that of the best direction, while the own row only leads by 1.
    backend = registry.backend(name)()
    backend.prepare(problem_of([[1, 0, 0], [0, 1, 0], [0, 0, 1]]))
    assert (backend.solve(torch.arange(3), Budget(margin_gap=1e-3)).lower > 1.2).all()


def test_a_mirrored_point_keeps_its_length_on_free() -> None:
    # From (1, ε) the row (0,1) is reached by one mirroring across the diagonal, which swaps the coordinates.
    backend = Reflection()
    backend.prepare(problem_of([[1, 0], [0, 1]]))
    moved = backend._mirror(torch.tensor([[0.8, 0.6]]), torch.tensor([1]), torch.tensor([0]))
    assert torch.allclose(moved, torch.tensor([[0.6, 0.8]]), atol=1e-4)


@pytest.mark.parametrize("name", [*ASCENTS, "random-directions"])
def test_out_of_time_is_a_limit_and_not_a_no(name: str) -> None:
    backend = registry.backend(name)()
    backend.prepare(gaussian(60_000, 2))  # in two dimensions hardly any row can win
    attempts = backend.solve(torch.arange(500), Budget(seconds=1e-9))
    assert Status.LIMIT in attempts.status
    assert not {Status.NO_WITNESS, Status.GAVE_UP} & set(attempts.status)


@pytest.mark.parametrize("problem", [gaussian(5, 3, Ball(2.0)), gaussian(5, 3, offsets=True)], ids=["ball", "lifted"])
def test_projected_and_random_points_lie_in_the_search_space(problem: ArgmaxProblem) -> None:
    space = SearchSpace(problem)
    assert space.region.radius is not None
    generator = torch.Generator().manual_seed(0)
    for z in (space.sample(100, generator), space.region.project(5 * torch.randn((100, space.e)))):
        assert (z.norm(dim=1) <= space.region.radius * (1 + 1e-6)).all()
        assert space.margins or (z[:, -1] >= 0).all()
