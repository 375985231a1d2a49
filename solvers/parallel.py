"""Small independent pieces of work on several cores, one thread of linear algebra each.

Products of small matrices lose far more to the hand-over between threads than they gain from a second core; whole
pieces of work side by side do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@contextmanager
def threads(jobs: int) -> Iterator[None]:
    """Within this block products of matrices use so many threads; afterwards as many as before."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(jobs)
        yield
    finally:
        torch.set_num_threads(before)


def map_single_threaded(function: Callable[[_Item], _Result], items: Sequence[_Item], jobs: int = 1) -> list[_Result]:
    """`[function(item) for item in items]`, on `jobs` threads that use one core each. Order is kept."""
    if not items:
        return []

    def one(item: _Item) -> _Result:
        torch.set_num_threads(1)
        return function(item)

    before = torch.get_num_threads()
    try:
        if jobs <= 1 or len(items) == 1:
            return [one(item) for item in items]
        with ThreadPoolExecutor(min(jobs, len(items))) as pool:
            return list(pool.map(one, items))
    finally:
        torch.set_num_threads(before)
