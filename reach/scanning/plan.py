"""The plan of a scan: which stages a problem goes through, the cheapest first."""

from __future__ import annotations

from functools import partial

from reach.scanning.earlier import Earlier
from reach.scanning.own_row import OwnRowStage
from reach.scanning.proof import ProofStage
from reach.scanning.resolution import CLOSE_GAP, ResolutionStage
from reach.scanning.settings import ScanSettings
from reach.scanning.stages import BackendStage, EarlierStage, InsideStage, MarginStage, Stage
from solvers import registry
from solvers.domains import Free
from solvers.problem import ArgmaxProblem

_BRIEF = 8
"""Rounds of the first search for margins, and of that in wide heads before rows are centred."""
_WIDE = 256
"""From this width on exact proofs, and a factorisation per row, are dear."""
_NARROW_SHARE, _FEWEST, _BLOCK_WORK = 1 / 32, 16, 2**28
"""In narrower heads the search whose rounds are products loses nothing by blocks that small (128 rows by default), as
long as a product of a block takes so many multiplications, and engines have several of them to share; in wider heads
a product for a block's last rows is dear. Fewer than so many rows are not worth a product."""


def build_stages(problem: ArgmaxProblem, settings: ScanSettings, earlier: Earlier | None = None) -> list[Stage]:
    """The stages for a problem, cheapest first; what an earlier run of a similar one left comes before searches."""
    last = "highs" if registry.backend("highs").why_not(problem) is None else "clarabel"
    stages: list[Stage] = [OwnRowStage(settings)]
    if not problem.cone:
        stages.append(BackendStage("own-row-any-scale", settings, own_row=True))
    margins = _wants_margins(problem, settings)
    if margins:
        # Nearly all rows are done with after this, their verdicts included.
        stages += _briefly(MarginStage, problem, settings, earlier)
    stages += [
        BackendStage("centred-row", settings, recipe="centred-row" if problem.cone else None),
        BackendStage("whitened-row", settings),
        _earlier(problem, settings, earlier),
        *_middle(problem, settings),
        BackendStage(last, settings, block_share=1 / 32),
        ProofStage(settings),
    ]
    if margins:
        # Where no method is exact and quick, what is left is done one row at a time.
        stages += [MarginStage(name, settings, block_share=share) for name, share in _quick(problem, settings)]
        if registry.backend("active-set").why_not(problem) is not None:
            stages.append(MarginStage("clarabel", settings, block_share=1 / 32, share=0.1))
    if problem.margin_bounded:
        # The batched method is quick and may end early at margins near 0; the others go one row at a time.
        close = "nearest-point" if registry.backend("nearest-point").why_not(problem) is None else last
        first = _quick(problem, settings)[0][0]
        searches_from = next(at for at, stage in enumerate(stages) if stage.name == first)
        resolution = partial(ResolutionStage, problem=problem, settings=settings, searches_from=searches_from)
        stages.append(resolution("resolution", "batched-barrier", block_share=1 / 4))
        follows = len(stages) - 1
        stages.append(resolution("resolution-close", close, block_share=1 / 32, follows=follows, gap=CLOSE_GAP))
    return stages


def _earlier(problem: ArgmaxProblem, settings: ScanSettings, earlier: Earlier | None) -> EarlierStage:
    """What an earlier run left, with the search that can begin there, where it can do this problem."""
    share = dict(_quick(problem, settings)).get("active-set")
    stage = EarlierStage(None if share is None else "active-set", settings, earlier)
    stage.block_share = share or 1.0
    return stage


def _middle(problem: ArgmaxProblem, settings: ScanSettings) -> list[Stage]:
    """What comes after the closed forms; in wide heads what factors no matrix per row comes first.

    In narrow ones exact proofs are cheap, and say more, except where rows are known only up to rounding.
    """
    searches: list[Stage] = [
        BackendStage(name, settings, block_share=share) for name, share in _quick(problem, settings)
    ]
    if problem.cone or isinstance(problem.domain, Free):
        if problem.d >= _WIDE:
            # What wins at all is mostly found in a few rounds, where centring takes dozens of passes.
            brief = [] if _wants_margins(problem, settings) else _briefly(BackendStage, problem, settings)
            return [*brief, InsideStage(settings), *searches]
        if problem.weight_error is not None:
            return [*searches, InsideStage(settings)]
    return searches


def _wants_margins(problem: ArgmaxProblem, settings: ScanSettings) -> bool:
    return settings.margin_gap is not None and problem.margin_bounded


def _briefly(
    kind: type[BackendStage], problem: ArgmaxProblem, settings: ScanSettings, earlier: Earlier | None = None
) -> list[BackendStage]:
    """A few rounds of the search whose rounds are products, where it can do this problem."""
    return [
        kind(name, settings, iterations=_BRIEF, earlier=earlier)
        for name, _ in _quick(problem, settings)
        if name == "active-set"
    ]


def _quick(problem: ArgmaxProblem, settings: ScanSettings) -> list[tuple[str, float]]:
    """The batched searches that can do this problem, the quickest first, and how many rows they take at a time."""
    enough = max(_FEWEST, _BLOCK_WORK / (problem.v * problem.d))
    narrow = min(1.0, max(_NARROW_SHARE, enough / settings.block_tokens))
    searches = (("active-set", narrow if problem.d < _WIDE else 1.0), ("batched-barrier", 1 / 4))
    return [search for search in searches if registry.backend(search[0]).why_not(problem) is None]
