"""Backends that misbehave, each in one way, to show that the comparison grades them for what they are."""

from __future__ import annotations

import ctypes
import os
import time
from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from solvers.attempt import Attempts, Hulls, Status
from solvers.backend import Backend, Budget, Capabilities


class Liar(Backend):
    """Says what `status` is, without any certificate."""

    name = "liar"
    status: ClassVar[Status] = Status.NO_WITNESS
    capabilities: ClassVar[Capabilities] = Capabilities(batched=True)

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        n = len(rows)
        return Attempts(
            rows,
            [self.status] * n,
            self.points(n),
            Hulls.none(n),
            torch.full((n,), -torch.inf, dtype=torch.float64),
            torch.full((n,), torch.inf, dtype=torch.float64),
        )

    def points(self, n: int) -> Tensor:
        return torch.full((n, self.problem.d), torch.nan)

    @classmethod
    def version(cls) -> str:
        return "1"


class SaysUnspeakable(Liar):
    """Claims unspeakable for everything, with a bound to match."""

    name = "says-unspeakable"

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        said = super().solve(rows, budget)
        hulls = Hulls.pack(
            [(torch.tensor([(int(row) + 1) % self.problem.v]).numpy(), torch.ones(1).numpy()) for row in rows]
        )
        return Attempts(said.rows, said.status, said.points, hulls, said.lower, torch.full_like(said.upper, -1.0))


class SaysSpeakable(Liar):
    """Claims a witness for everything: the origin, and a margin of 1."""

    name = "says-speakable"
    status = Status.WITNESS

    def points(self, n: int) -> Tensor:
        return torch.zeros((n, self.problem.d))


class ReturnsNaN(Liar):
    """Claims witnesses that are NaN."""

    name = "returns-nan"
    status = Status.WITNESS


class Sleeps(Liar):
    """Never comes back."""

    name = "sleeps"

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        time.sleep(600)
        return super().solve(rows, budget)


class Segfaults(Liar):
    """Reads address 0."""

    name = "segfaults"

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        ctypes.string_at(0)
        return super().solve(rows, budget)


class EatsMemory(Liar):
    """Takes memory until it is stopped."""

    name = "eats-memory"

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        kept = []
        for _ in range(4000):
            kept.append(torch.ones(4 * 2**20))
            time.sleep(0.005)
        return super().solve(rows, budget)


class Raises(Liar):
    """Raises on every call."""

    name = "raises"

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        raise ArithmeticError("no\nidea")


class AnswersOthers(Liar):
    """Answers about rows that nobody asked for."""

    name = "answers-others"

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        return super().solve((rows + 1) % self.problem.v, budget)


class HandsOverRubbish(Liar):
    """Hull weights that name rows that do not exist, and points of the wrong length."""

    name = "rubbish"

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        said = super().solve(rows, budget)
        hulls = Hulls.pack([(torch.tensor([10**6]).numpy(), torch.ones(1).numpy()) for _ in rows])
        return Attempts(said.rows, said.status, torch.zeros((len(rows), 1)), hulls, said.lower, said.upper)


class UsesItAll(Liar):
    """Takes every second that it is given and finds nothing; its counters say how many those were."""

    name = "uses-it-all"
    status = Status.LIMIT

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        time.sleep(budget.seconds)
        return replace(super().solve(rows, budget), work={"given": budget.seconds}, seconds=budget.seconds)


class UsesItAllAlone(UsesItAll):
    """The same, one row at a time."""

    name = "uses-it-all-alone"
    capabilities: ClassVar[Capabilities] = Capabilities(batched=False)


class SaysWhere(Liar):
    """Its counters say which process answered, and about how many rows its problem has."""

    name = "says-where"

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        return replace(super().solve(rows, budget), work={"pid": os.getpid(), "v": self.problem.v})
