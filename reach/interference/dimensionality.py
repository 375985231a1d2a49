"""How many dimensions does a feature get? The two measures of Elhage et al. 2022, *Toy Models of Superposition*.

**Features per dimension**, ‖W‖²_F/d, was meant for rows whose length is near 1 or 0: then ‖W‖²_F counts the features
that are represented. It is a sum of squared lengths, so 3·W has nine times as many "features per dimension" as W. A
head's rows have whatever length training, weight decay and the final norm's scale γ leave them, and the number mostly
reports that.

**Dimensionality of feature i**, D_i = ‖W_i‖²/Σ_j (Ŵ_i·W_j)² with Ŵ_i = W_i/‖W_i‖, is the share of its own direction
that is left to it: its squared length over the energy of all rows (itself included) along that direction. Scaling W
multiplies both by the same factor, which cancels. An orthogonal row has D_i = 1, each of an antipodal pair 1/2, and
all D_i together never exceed the rank.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from reach.interference.rows import UnitRows


def features_per_dimension(rows: UnitRows) -> float:
    """‖W‖²_F/d. Grows with the square of W's scale."""
    return float(rows.gram.trace()) / len(rows.gram)


def dimensionalities(rows: UnitRows) -> Float64[np.ndarray, " n"]:
    """‖W_i‖²/Σ_j (Ŵ_i·W_j)² for each row. Does not change with W's scale.

    Σ_j (Ŵ_i·W_j)² = Ŵ_iᵀ(WᵀW)Ŵ_i, so that the d×d Gram matrix does it: V·d² operations in place of V²·d.
    """
    found = np.empty(len(rows.unit))
    step = max(1, 2**22 // rows.unit.shape[1])
    for start in range(0, len(found), step):
        unit = rows.unit[start : start + step].double()
        energy = ((unit @ rows.gram) * unit).sum(dim=1).numpy()
        found[start : start + step] = rows.norm[start : start + step] ** 2 / energy
    return found
