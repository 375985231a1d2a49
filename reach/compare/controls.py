"""Control heads: what would a head without any structure, or with only its covariance, look like to a solver?"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float64
from torch import Tensor

from reach.compare.sample import judged_from_scan
from reach.runs.schema import CONTROLS as COLUMNS
from reach.scanning.scan import ScanResult, scan
from reach.scanning.settings import ScanSettings
from reach.scanning.state import OPEN
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem


def gaussian_like(problem: ArgmaxProblem, seed: int) -> ArgmaxProblem:
    """Rows of independent Gaussian entries with the head's mean square row norm; offsets permuted among the rows.

    V, d and the domain are those of the head. A head whose rows are centred (LayerNorm) gets a control whose rows are
    centred, so that both live in d − 1 dimensions. Rows are float32. Deterministic by seed, whatever the block size.
    """
    rng = np.random.default_rng([seed, 1])
    dimensions = problem.d - 1 if problem.centred else problem.d
    deviation = float((problem.row_norm**2).mean().div(max(1, dimensions)).sqrt())
    weight = torch.empty((problem.v, problem.d), dtype=torch.float32)
    for block in problem.blocks(8 * problem.d * 3):
        entries = rng.standard_normal((block.stop - block.start, problem.d)) * deviation
        weight[block] = torch.from_numpy(entries).to(torch.float32)
    return _control(problem, weight, rng.permutation(problem.v))


def covariance_like(problem: ArgmaxProblem, seed: int) -> ArgmaxProblem:
    """Gaussian rows with the head's mean and covariance, each rescaled to the norm of a head's row drawn for it.

    Norms go to the rows by a random permutation, each with its own offset: the control keeps the directions that the
    head prefers and how offsets go with norms, and nothing else. Rows are float32. Deterministic by seed.

    Raises:
        BadInput: the head's rows are all zero.
    """
    if not bool((problem.row_norm > 0).any()):
        raise BadInput("all rows of the head are zero; there is no covariance to imitate")
    rng = np.random.default_rng([seed, 2])
    root = covariance_root(problem)
    given = rng.permutation(problem.v)
    norms = problem.row_norm[torch.from_numpy(given)]
    weight = torch.empty((problem.v, problem.d), dtype=torch.float32)
    for block in problem.blocks(8 * problem.d * 4):
        noise = torch.from_numpy(rng.standard_normal((block.stop - block.start, problem.d)))
        rows = noise @ root + problem.mean_row
        if problem.centred:
            # Its mean over the entries is 0 but for rounding, and the norm is that of the centred row.
            rows = rows - rows.mean(dim=1, keepdim=True)
        length = rows.norm(dim=1).clamp(min=1e-300)
        weight[block] = (rows * (norms[block] / length)[:, None]).to(torch.float32)
    return _control(problem, weight, given)


def covariance_root(problem: ArgmaxProblem) -> Float64[Tensor, "d d"]:
    """The symmetric root of the covariance of the rows of A; singular covariances have one too."""
    values, vectors = torch.linalg.eigh(problem.covariance())
    # Rounding leaves eigenvalues a little below zero where the rows span fewer dimensions.
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def _control(problem: ArgmaxProblem, weight: Tensor, given: np.ndarray) -> ArgmaxProblem:
    """The control over the head's domain, with the head's offsets (c itself, whatever factors made it) reordered."""
    return ArgmaxProblem(
        weight,
        problem.domain,
        bias=None if problem.zero_offset else problem.offset[torch.from_numpy(given)],
        centred=problem.centred,
    )


CONTROLS = {"gaussian": gaussian_like, "covariance": covariance_like}


def scan_quietly(problem: ArgmaxProblem, jobs: int, seconds: float, margin_gap: float | None = None) -> ScanResult:
    """A scan in memory, for some seconds: rows that are open then count as not asked for, for nothing was decided.

    Args:
        problem: what is scanned.
        jobs: processes and threads.
        seconds: after which it ends.
        margin_gap: also bound every margin from both sides, this closely.
    """
    result = scan(problem, ScanSettings(jobs=jobs, margin_gap=margin_gap), seconds=seconds)
    if result.cut:
        result.asked &= (result.state.verdict != OPEN)[result.merged.row_of]
    return result


def control_table(name: str, problem: ArgmaxProblem, result: ScanResult) -> pa.Table:
    """What a scan of a control found, one row per row of the control: beside the model's own margins it is read."""
    judged = judged_from_scan(problem, result)
    tied = judged.verdict == "tied"
    lower = np.where(tied, 0.0, result.state.lower[result.merged.row_of])
    upper = np.where(tied, 0.0, result.state.upper[result.merged.row_of])
    columns = [
        pa.array([name] * problem.v, pa.string()),
        pa.array(judged.verdict, pa.string()),
        pa.array(judged.own_direction, pa.bool_()),
        pa.array(lower, pa.float64(), mask=~np.isfinite(lower)),
        pa.array(upper, pa.float64(), mask=~np.isfinite(upper)),
    ]
    return pa.table(columns, schema=COLUMNS)
