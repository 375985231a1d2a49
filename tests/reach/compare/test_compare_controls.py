from __future__ import annotations

import numpy as np
import pytest
import torch

from reach.compare.controls import covariance_like, covariance_root, gaussian_like
from solvers.domains import Ball, Free
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem


def head(*, centred: bool, offsets: bool = True, v: int = 3000, d: int = 12) -> ArgmaxProblem:
    """Rows with a strong mean, one dominant direction, and norms that come with offsets."""
    rng = np.random.default_rng(11)
    rows = rng.standard_normal((v, d)) * np.geomspace(4, 0.1, d) + 2.0
    rows *= rng.uniform(0.5, 2.0, (v, 1))
    bias = torch.from_numpy(np.linalg.norm(rows, axis=1)) if offsets else None
    scale = torch.from_numpy(rng.uniform(0.5, 1.5, d)) if centred else None
    return ArgmaxProblem(
        torch.from_numpy(rows).to(torch.float32), Ball(float(d)), scale=scale, bias=bias, centred=centred
    )


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("make", [gaussian_like, covariance_like])
def test_what_every_control_keeps(make, centred: bool) -> None:
    problem = head(centred=centred)
    control, again, other = make(problem, 1), make(problem, 1), make(problem, 2)
    assert (control.v, control.d, control.domain, control.centred) == (problem.v, problem.d, problem.domain, centred)
    assert control.weight.dtype == torch.float32
    assert control.fingerprint == again.fingerprint != other.fingerprint
    assert torch.equal(control.offset.sort().values, problem.offset.sort().values)
    # Mean square norm: drawn anew, so within sampling error; or the very norms, reordered.
    assert float((control.row_norm**2).mean()) == pytest.approx(float((problem.row_norm**2).mean()), rel=0.05)
    if centred:
        assert float(control.rows(slice(None)).sum(dim=1).abs().max()) < 1e-9
    assert make(head(centred=centred, offsets=False), 1).zero_offset


@pytest.mark.parametrize("make", [gaussian_like, covariance_like])
def test_the_block_size_changes_nothing(make, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = head(centred=False)
    whole = make(problem, 5)
    blocks = ArgmaxProblem.blocks
    monkeypatch.setattr(ArgmaxProblem, "blocks", lambda self, size, limit=0: blocks(self, size, limit=size * 7))  # noqa: ARG005
    in_parts = make(head(centred=False), 5)
    assert torch.allclose(whole.weight, in_parts.weight, rtol=1e-5, atol=1e-6)
    assert torch.equal(whole.offset, in_parts.offset)


def test_the_gaussian_control_has_no_structure() -> None:
    control = gaussian_like(head(centred=False), 1)
    rows = control.rows(slice(None))
    # No mean and no preferred direction: the covariance is σ²I up to √(d/v) = 6 %.
    values = torch.linalg.eigvalsh(torch.cov(rows.T))
    assert float(values.max() / values.min()) < 1.4
    assert float(rows.mean(dim=0).norm()) < 0.1 * float(control.row_norm.mean())


def test_the_covariance_control_keeps_norms_with_their_offsets_and_directions() -> None:
    problem = head(centred=False)
    control = covariance_like(problem, 1)
    # In `head` each offset is the row norm, so the pairs must still agree (float32 rows).
    assert torch.allclose(control.row_norm, control.offset, rtol=1e-5)
    assert not torch.allclose(control.row_norm, problem.row_norm, rtol=1e-2)
    # Rescaling the rows blurs the covariance, but the dominant direction and the mean stay.
    ours, theirs = (torch.linalg.eigh(torch.cov(p.rows(slice(None)).T))[1][:, -1] for p in (control, problem))
    assert abs(float(ours @ theirs)) > 0.95
    mean = torch.nn.functional.cosine_similarity(control.mean_row, problem.mean_row, dim=0)
    assert float(mean) > 0.95


def test_the_root_is_a_root_even_where_rows_span_less() -> None:
    problem = head(centred=True)
    rows = problem.rows(slice(None))
    root = covariance_root(problem)
    assert torch.allclose(root @ root, torch.cov(rows.T, correction=0), atol=1e-8)
    # Centred rows do not leave 1ᵀz = 0; the root is exact up to the square root of rounding there.
    assert float((root @ torch.ones(problem.d, dtype=torch.float64)).norm()) < 1e-5


def test_zero_rows() -> None:
    rows = torch.zeros((5, 3))
    with pytest.raises(BadInput, match="all rows of the head are zero"):
        covariance_like(ArgmaxProblem(rows, Free()), 0)
    rows[0] = 1.0
    # Four of five norms are 0, and so are four rows of the control.
    control = covariance_like(ArgmaxProblem(rows, Free()), 0)
    assert int((control.row_norm == 0).sum()) == 4
