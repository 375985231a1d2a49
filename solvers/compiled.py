"""Functions compiled by numba: what all of them share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function compiled at its first call; the machine code is kept on disk where that can be written to."""
    # Sums may be reordered (for vector instructions), but NaN and infinity keep their meaning.
    return _compiled(function, {"reassoc", "contract", "nsz"})


def compiled_for_finite(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a function that meets no NaN: only then are largest numbers found by vector instructions."""
    return _compiled(function, {"reassoc", "contract", "nsz", "nnan"})


def _compiled(function: Callable[..., Any], freedom: set[str]) -> Callable[..., Any]:
    settings: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": freedom}
    try:
        made: Callable[..., Any] = numba.njit(cache=True, **settings)(function)
    except RuntimeError:  # neither beside this file nor in the user's folder
        made = numba.njit(**settings)(function)
    return made
