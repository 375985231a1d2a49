"""What a scan of a random head found, as a table to set beside the model's own margins."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from reach.runs.schema import CONTROLS
from reach.scanning.scan import ScanResult
from reach.strength.sample import judged_from_scan
from solvers.problem import ArgmaxProblem


def control_table(name: str, problem: ArgmaxProblem, result: ScanResult) -> pa.Table:
    """One row per row of the control (schema `CONTROLS`)."""
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
    return pa.table(columns, schema=CONTROLS)
