"""The products of all rows with one another, for half the work: who is ahead of each row at its own point.

They are symmetric, so a tile of them serves its rows and its columns. Tiles lie on a grid that hangs on the number of
rows alone, and each is one product on one thread. So its numbers are the same whoever computes it, and when; and the
largest score, with the lowest of the rivals that have it, is the same in whichever order tiles are taken in.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int
from torch import Tensor

from solvers.checks.own_rows import LARGEST, Bounds, OwnRows
from solvers.checks.tiles import Leading, Rivals, Terms, make_ready, read_columns, read_rows, take_over
from solvers.checks.witness import nearest_goal
from solvers.parallel import map_single_threaded
from solvers.precision import full_float32_products
from solvers.problem import ArgmaxProblem

TILE = 512
"""Rows and columns of one product."""
_SQUARE_WORK = 5e10
"""Multiplications of the largest squares: about a second, which is what a lost one costs."""

Tile = tuple[int, int]
"""Which strip of rows, and which of columns, that one or a later one."""


@dataclass(frozen=True)
class Square:
    """Tiles to be computed together: strips of rows from `top` to before `bottom`, of columns `left` to `right`."""

    top: int
    bottom: int
    left: int
    right: int

    def tiles(self) -> list[Tile]:
        """Those on the diagonal and right of it."""
        return [(row, at) for row in range(self.top, self.bottom) for at in range(max(row, self.left), self.right)]


class OwnProducts:
    """What the products say of every row's rivals, as far as they have been computed.

    Args:
        problem: the argmax problem; `OwnRows.possible` says of which this can be had.
        scale: `(v,)` the multiple of its row that each point will be, up to rounding: a guess, which no proof trusts.
        tile: rows and columns of one product.
    """

    def __init__(self, problem: ArgmaxProblem, scale: Float64[Tensor, " v"], *, tile: int = TILE) -> None:
        self.problem, self.bounds, self._tile = problem, Bounds.of(problem, scale), tile
        self.strips = -(-problem.v // tile)
        bounds, one = self.bounds, torch.ones(problem.v, dtype=torch.float64)
        self._scores = _terms(bounds.scale, bounds.reach, bounds.error, problem.offset + bounds.constant)
        goal = torch.cat([nearest_goal(problem, part) for part in problem.blocks(24 * problem.d)])
        goal = goal.nan_to_num().clamp(-LARGEST, LARGEST)
        self._likenesses = _terms(one, one, -goal / 2, torch.zeros_like(one))
        self._begin()

    def _begin(self) -> None:
        make_ready()
        self._known = Rivals.none_yet(self.problem.v)
        # Tiles left of the diagonal are those right of it.
        self._done = np.tri(self.strips, k=-1, dtype=bool)
        self._lock, self._local = threading.Lock(), threading.local()

    def __getstate__(self) -> dict[str, Any]:
        """Without what was computed here."""
        kept = ("problem", "bounds", "strips", "_tile", "_scores", "_likenesses")
        return {name: self.__dict__[name] for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # Compiled code takes memory that cannot be written to for another kind of array.
        self._scores, self._likenesses = (Terms(*map(np.array, terms)) for terms in (self._scores, self._likenesses))
        self._begin()

    # --- which tiles ---

    def complete(self, tokens: Int[np.ndarray, " n"]) -> bool:
        """Whether all products of these rows have been taken in."""
        strips = self._strips_of(tokens)
        return bool(self._done[strips].all() and self._done[:, strips].all())

    def missing(self, tokens: Int[np.ndarray, " n"]) -> list[Tile]:
        """The tiles that these rows still need."""
        needs = np.zeros_like(self._done)
        strips = self._strips_of(tokens)
        needs[strips], needs[:, strips] = True, True
        return [(int(row), int(column)) for row, column in np.argwhere(needs & ~self._done)]

    def squares(self, tokens: Int[np.ndarray, " n"], at_once: int) -> Iterator[Square]:
        """All tiles that these rows still need, in squares that serve the first rows first.

        Args:
            tokens: `(n,)` the rows.
            at_once: how many squares are computed side by side; there will be several times as many.
        """
        side = min(math.ceil(self.strips / math.ceil(math.sqrt(16 * at_once))), self._largest_side())
        needed = np.zeros(self.strips, dtype=bool)
        needed[self._strips_of(tokens)] = True
        starts = range(0, self.strips, side)
        for top in starts:
            for left in starts:
                square = Square(top, min(top + side, self.strips), left, min(left + side, self.strips))
                touched = needed[square.top : square.bottom].any() or needed[square.left : square.right].any()
                if top <= left and touched and not all(self._done[tile] for tile in square.tiles()):
                    yield square

    def _largest_side(self) -> int:
        return max(1, int(math.sqrt(_SQUARE_WORK / self.problem.d) / self._tile))

    def _strips_of(self, tokens: Int[np.ndarray, " n"]) -> Int[np.ndarray, " k"]:
        return np.unique(tokens // self._tile)

    # --- products ---

    def multiply(self, tiles: list[Tile], jobs: int = 1) -> None:
        """Compute tiles and take them in.

        Raises:
            BadInput: products are computed in less than float32, and torch does not let that be switched off.
        """
        self._multiply(tiles, self._known, jobs)
        self._note(tiles)

    def found(self, square: Square, jobs: int = 1) -> tuple[Rivals, Rivals]:
        """What a square says of its rows and of its columns, for `take`; nothing of it stays here.

        Raises:
            BadInput: products are computed in less than float32, and torch does not let that be switched off.
        """
        known = Rivals.none_yet(self.problem.v)
        self._multiply(square.tiles(), known, jobs)
        return known.of(self._rows(square.top, square.bottom)), known.of(self._rows(square.left, square.right))

    def take(self, square: Square, found: tuple[Rivals, Rivals]) -> None:
        """Take in what a square says, wherever it was computed; twice does no harm."""
        for first, rivals in zip((square.top, square.left), found, strict=True):
            for known, more in zip(self._known, rivals, strict=True):
                take_over(known, first * self._tile, more.of(slice(None)), len(more.score))
        self._note(square.tiles())

    def rivals(self, tokens: Int[np.ndarray, " n"]) -> Rivals:
        """The rivals of rows.

        Raises:
            ValueError: products of theirs are missing, so that a rival might be.
        """
        if not self.complete(tokens):
            raise ValueError("not all products of these rows have been taken in")
        return self._known.of(tokens)

    def check_of(self, tokens: Int[np.ndarray, " n"], rivals: Rivals, jobs: int = 1) -> OwnRows:
        """What checks these rows, whose rivals these are."""
        return OwnRows(self.problem, self.bounds, torch.from_numpy(tokens), rivals, jobs)

    def _rows(self, first: int, last: int) -> slice:
        return slice(first * self._tile, min(last * self._tile, self.problem.v))

    def _note(self, tiles: Iterable[Tile]) -> None:
        for tile in tiles:
            self._done[tile] = True

    def _multiply(self, tiles: list[Tile], known: Rivals, jobs: int) -> None:
        with full_float32_products():
            map_single_threaded(lambda tile: self._one_tile(tile, known), tiles, jobs)

    def _one_tile(self, tile: Tile, known: Rivals) -> None:
        rows, columns = (self._rows(strip, strip + 1) for strip in tile)
        top, low, height, width = rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start
        working = self.problem.working_rows()
        flat, found = self._room()
        products = flat[: height * width].view(height, width)
        torch.mm(working[rows], working[columns].T, out=products)
        for terms, leading in zip((self._scores, self._likenesses), known, strict=True):
            read_rows(products.numpy(), top, low, terms, leading, found)
            with self._lock:
                take_over(leading, top, found, height)
            if low > top:
                read_columns(products.numpy(), top, low, terms, found)
                with self._lock:
                    take_over(leading, low, found, width)

    def _room(self) -> tuple[Float32[Tensor, " n"], Leading]:
        """This thread's own memory for products, and for what a tile holds."""
        if not hasattr(self._local, "room"):
            self._local.room = torch.empty(self._tile**2), Leading.none_yet(self._tile)
        found: tuple[Tensor, Leading] = self._local.room
        return found


def _terms(*columns: Float64[Tensor, " v"]) -> Terms:
    return Terms(*(column.to(torch.float32).numpy() for column in columns))
