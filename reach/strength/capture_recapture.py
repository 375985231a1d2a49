"""How much did the searches miss? Estimates from how often the same tokens were found again.

Several runs of an incomplete search are like several days of trapping: what is found only once says how much is still
out there. Every estimate here assumes that finds are independent of each other. Where some tokens are harder to find
than others, which is the rule, Chao's estimates are *lower* bounds on the truth, and Chapman's is biased low.

References:
    Good (1953), Biometrika 40, 237–264: coverage. Esty (1983), Annals of Statistics 11, 905–912: its variance.
    Chao (1984), Scandinavian Journal of Statistics 11, 265–270; Chao (1987), Biometrics 43, 783–791: richness and
    its log-normal interval. Chao (2005), Encyclopedia of Statistical Sciences: bias-corrected forms.
    Colwell, EstimateS user's guide, appendix B: the variances in every case of f₁ and f₂.
    Chapman (1951), Univ. California Publ. Stat. 1, 131–160; Seber (1970), Biometrika 57, 13–22: two runs.
    McAllester & Schapire (2000), COLT, 1–6: a bound on the unseen mass that needs no asymptotics.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from scipy.stats import hypergeom, norm

from solvers.errors import BadInput


@dataclass(frozen=True)
class Richness:
    """An estimate of how many there are in all.

    Attributes:
        method: "chao1", "chao2" or "chapman".
        observed: how many different ones were found.
        estimate: how many there are, observed ones included.
        low, high: confidence interval; never below `observed`. high may be inf: no upper limit follows.
        variance: of the estimate.
        once, twice: how many were found exactly once and twice (f₁ and f₂, or Q₁ and Q₂).
        samples: n finds for Chao1, m runs for Chao2, 2 for Chapman.
        confidence: of the interval.
    """

    method: str
    observed: int
    estimate: float
    low: float
    high: float
    variance: float
    once: int
    twice: int
    samples: int
    confidence: float

    @property
    def missed(self) -> float:
        """How many are estimated to be there but unseen."""
        return self.estimate - self.observed


@dataclass(frozen=True)
class Coverage:
    """How much of the finds to come would be new.

    Attributes:
        unseen: estimated probability that the next find is one that was never found before.
        low, high: Esty's normal confidence interval for it, cut to [0, 1].
        worst_case_high: one-sided bound at the same confidence that holds for any distribution and any n
            (McAllester & Schapire); loose, but the only honest one where nothing was found just once.
        finds: number of finds n.
        confidence: of the interval.
    """

    unseen: float
    low: float
    high: float
    worst_case_high: float
    finds: int
    confidence: float


# --- one search that keeps finding ----------------------------------------------------------------------------------


def chao1(counts: Int[np.ndarray, " s"], confidence: float = 0.95) -> Richness:
    """Bias-corrected Chao1 from how often each token was found (zeros are ignored).

    With f_k the number of tokens found exactly k times, n = Σ k·f_k and r = (n−1)/n:

        S = S_obs + r · f₁(f₁−1) / (2(f₂+1))
        var = r·f₁(f₁−1)/(2(f₂+1)) + r²·f₁(2f₁−1)²/(4(f₂+1)²) + r²·f₁²f₂(f₁−1)²/(4(f₂+1)⁴)     f₂ > 0
        var = r·f₁(f₁−1)/2 + r²·f₁(2f₁−1)²/4 − r²·f₁⁴/(4S)                                       f₂ = 0

    Interval (Chao 1987): with T = S − S_obs and K = exp(z·√ln(1 + var/T²)), from S_obs + T/K to S_obs + T·K.
    Where T = 0, with P = Σ f_k·e^{−k}/S_obs (EstimateS): S_obs/(1−P) ± z·√var/(1−P), not below S_obs, and
    var = Σ f_k(e^{−k} − e^{−2k}) − (Σ k·e^{−k}·f_k)²/n.

    Raises:
        BadInput: nothing was found, or a count is negative or no whole number.
    """
    found = _found(counts)
    return _chao("chao1", found, int(found.sum()), confidence)


def chao2(found: Bool[np.ndarray, "m s"], confidence: float = 0.95) -> Richness:
    """Bias-corrected Chao2 from which tokens each of m independent runs (restarts) found.

    The formulas of `chao1` with Q_k, the number of tokens that exactly k runs found, in place of f_k, and m in place
    of n in the factor (m−1)/m. How often one run meets the same token does not matter, so runs may be of any kind.

    Raises:
        BadInput: fewer than two runs, or nothing was found.
    """
    table = np.asarray(found)
    if table.ndim != 2 or table.shape[0] < 2:
        raise BadInput(f"incidence needs at least two runs, one row each, not shape {table.shape}")
    if table.dtype != bool:
        raise BadInput("incidence needs true or false for each run and token, not counts")
    return _chao("chao2", _found(table.sum(axis=0)), table.shape[0], confidence)


def _found(counts: Int[np.ndarray, " s"]) -> Int[np.ndarray, " o"]:
    counts = np.asarray(counts)
    if counts.ndim != 1 or not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any():
        raise BadInput("counts of finds must be whole numbers ≥ 0, one per token")
    found = counts[counts > 0].astype(np.int64)
    if not len(found):
        raise BadInput("nothing was found, and nothing can be said about what was missed")
    return found


def _chao(method: str, found: Int[np.ndarray, " o"], samples: int, confidence: float) -> Richness:
    z = _quantile(confidence)
    observed, once, twice = len(found), int((found == 1).sum()), int((found == 2).sum())
    r, f1, f2 = (samples - 1) / samples, float(once), float(twice)
    extra = r * f1 * (f1 - 1) / (2 * (f2 + 1))
    estimate = observed + extra
    if extra > 0:
        variance = extra + r**2 * f1 * (2 * f1 - 1) ** 2 / (4 * (f2 + 1) ** 2)
        if twice:
            variance += r**2 * f1**2 * f2 * (f1 - 1) ** 2 / (4 * (f2 + 1) ** 4)
        else:
            variance -= r**2 * f1**4 / (4 * estimate)
        factor = math.exp(z * math.sqrt(math.log1p(variance / extra**2)))
        low, high = observed + extra / factor, observed + extra * factor
    else:
        total = float(found.sum())
        decay = np.exp(-found.astype(np.float64))
        variance = max(0.0, float((decay - decay**2).sum() - (found * decay).sum() ** 2 / total))
        stay = 1 - float(decay.mean())
        # The formula's lower end can lie above what was found; the estimate must lie in its own interval.
        low = min(estimate, max(float(observed), (observed - z * math.sqrt(variance)) / stay))
        high = (observed + z * math.sqrt(variance)) / stay
    return Richness(method, observed, estimate, low, high, variance, once, twice, samples, confidence)


# --- coverage -------------------------------------------------------------------------------------------------------


def good_turing(counts: Int[np.ndarray, " s"], confidence: float = 0.95) -> Coverage:
    """Unseen mass f₁/n of Good (1953, after Turing), from how often each token was found.

    Interval of Esty (1983): f₁/n ± z·√(f₁(1 − f₁/n) + 2f₂)/n. It is asymptotic, and shrinks to a point where nothing
    was found once or twice; `worst_case_high` = f₁/n + (2√2 + √3)·√(ln(3/δ)/n) with δ = 1 − confidence never does.

    Raises:
        BadInput: nothing was found, or a count is negative or no whole number.
    """
    z = _quantile(confidence)
    found = _found(counts)
    n, once, twice = int(found.sum()), int((found == 1).sum()), int((found == 2).sum())
    unseen = once / n
    half = z * math.sqrt(once * (1 - unseen) + 2 * twice) / n
    worst = unseen + (2 * math.sqrt(2) + math.sqrt(3)) * math.sqrt(math.log(3 / (1 - confidence)) / n)
    return Coverage(unseen, max(0.0, unseen - half), min(1.0, unseen + half), min(1.0, worst), n, confidence)


# --- two runs -------------------------------------------------------------------------------------------------------


def chapman(first: int, second: int, both: int, confidence: float = 0.95) -> Richness:
    """How many there are, from two independent runs: n₁ and n₂ finds, m₂ of them in both.

    S = (n₁+1)(n₂+1)/(m₂+1) − 1 (Chapman 1951), unbiased where n₁ + n₂ ≥ S, with the variance of Seber (1970),
    (n₁+1)(n₂+1)(n₁−m₂)(n₂−m₂)/((m₂+1)²(m₂+2)). The interval inverts the hypergeometric distribution of m₂ given S,
    and so holds for any numbers; where m₂ = 0 it has no upper end, and where one run found all that the other did it
    does not shrink to a point, as an interval from the variance would.

    Raises:
        BadInput: counts that cannot be.
    """
    if not 0 <= both <= min(first, second) or first + second == 0:
        raise BadInput(f"two runs with {first} and {second} finds cannot have {both} in common")
    tail = (1 - confidence) / 2
    _quantile(confidence)
    observed = first + second - both
    estimate = (first + 1) * (second + 1) / (both + 1) - 1
    variance = (first + 1) * (second + 1) * (first - both) * (second - both) / ((both + 1) ** 2 * (both + 2))

    # The larger the total, the fewer are in both: each end is found by bisection.
    def few_enough(total: int) -> bool:  # P(at most m₂ in both) > α/2: false for totals that are too small
        return bool(hypergeom.cdf(both, total, first, second) > tail)

    def many_enough(total: int) -> bool:  # P(at least m₂ in both) > α/2: false for totals that are too large
        return bool(hypergeom.sf(both - 1, total, first, second) > tail)

    low = _smallest(few_enough, observed)
    high = math.inf if both == 0 else float(_smallest(lambda total: not many_enough(total), observed) - 1)
    once = first + second - 2 * both
    return Richness("chapman", observed, estimate, float(low), high, variance, once, both, 2, confidence)


def _smallest(holds: Callable[[int], bool], start: int) -> int:
    """The smallest whole number ≥ start for which a monotone condition holds."""
    if holds(start):
        return start
    step = 1
    while not holds(start + step):
        step *= 2
    below, above = start + step // 2, start + step
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if holds(middle) else (middle, above)
    return above


def _quantile(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise BadInput(f"a confidence must lie between 0 and 1, not {confidence:g}")
    return float(norm.ppf((1 + confidence) / 2))
