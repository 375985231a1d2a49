"""How a proof was checked."""

from __future__ import annotations

from enum import StrEnum


class Evidence(StrEnum):
    """How a proof was checked, weakest first."""

    FLOAT64 = "float64"
    """Recomputed in float64; rounding is not accounted for."""
    RIGOROUS = "rigorous"
    """Recomputed in floating point with every rounding error bounded."""
    EXACT = "exact"
    """Decided in rational arithmetic wherever a rounding bound leaves a comparison open."""

    @property
    def rank(self) -> int:
        """Position in the order of strength, 0 is the weakest."""
        return _RANKS[self]


_RANKS = {evidence: rank for rank, evidence in enumerate(Evidence)}
