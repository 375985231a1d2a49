"""Which tokens can a language model never say? A proof for every token of the vocabulary.

    >>> import reach
    >>> head = reach.load("demo")
    >>> verdicts = reach.scan(head, tokens="0-99")
    >>> verdicts.totals.tokens
    100
    >>> len(verdicts.speakable) + len(verdicts.unspeakable) + len(verdicts.tied) + len(verdicts.undecided)
    100
    >>> verdicts[17].verdict
    'speakable'
    >>> verdicts.verify(head).ok
    True

Any linear argmax, without a model: is row t of A·z + c ever the single largest?

    >>> found = reach.prove([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], domain="ball:1")
    >>> found[2].verdict, [(blocker.token_id, round(blocker.weight, 6)) for blocker in found[2].blockers]
    ('unspeakable', [(0, 0.5), (1, 0.5)])

Nothing global is changed, nothing is printed, and PyTorch is loaded when it is first needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reach.api import load, open, prove, scan
    from reach.heads.head import Head
    from reach.verdicts import Blocker, TokenVerdict, Verdicts
    from solvers.errors import BadInput

_HOMES = {
    "load": "reach.api",
    "open": "reach.api",
    "prove": "reach.api",
    "scan": "reach.api",
    "Head": "reach.heads.head",
    "Blocker": "reach.verdicts",
    "TokenVerdict": "reach.verdicts",
    "Verdicts": "reach.verdicts",
    "BadInput": "solvers.errors",
}

__all__ = ["BadInput", "Blocker", "Head", "TokenVerdict", "Verdicts", "load", "open", "prove", "scan"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("token-reachability")
    if name not in _HOMES:
        raise AttributeError(f"module 'reach' has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
