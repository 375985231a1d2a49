"""Replay what a run says of tokens as they are served, in real arithmetic of torch and numpy, in many orders.

    python scripts/served_replays.py MODEL RUN [--points 20000]

Every point that proves a token is computed again in every way below, and so are points all over the domain and near
the best points of tokens that are never returned. A contradiction is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

import reach
from reach.loading import load_again
from reach.served import STORED, servers
from reach.verdicts import Verdicts
from solvers.checks.served_head import ServedHead
from solvers.problem import ArgmaxProblem
from solvers.recipes import far_along, recipe_points

_BLOCK_NUMBERS = 2**23


@dataclass
class Tally:
    """What came of replays of one format.

    Attributes:
        replays: by way of computing, points that were replayed.
        wrong: by way of computing, tokens that contradicted their proof.
        outside: by way of computing, the logits that differ from what the way is meant to give.
    """

    replays: dict[str, int] = field(default_factory=dict)
    wrong: dict[str, list[int]] = field(default_factory=dict)

    def add(self, name: str, points: int, wrong: list[int]) -> None:
        """Count some replays."""
        self.replays[name] = self.replays.get(name, 0) + points
        if wrong:
            self.wrong.setdefault(name, []).extend(wrong)


class Machine:
    """A head in a format, and ways to compute its logits.

    Args:
        head: as it is served.
        random: of the permutations.
    """

    def __init__(self, head: ServedHead, random: np.random.Generator) -> None:
        self.head, self.random = head, random
        self.form = head.form
        self.weight = head.problem.weight.to(self.form.dtype)
        self.wide = self.weight.to(torch.float32)
        self.bias = None if head.problem.bias is None else head.problem.bias.to(self.form.dtype)

    def ways(self) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
        """Names, and functions from inputs in the format to logits in the format."""
        yield "linear", self._linear
        yield "matmul", lambda x: self._finish(x.float() @ self.wide.T)
        yield "numpy", lambda x: self._finish(torch.from_numpy(x.float().numpy() @ self.wide.numpy().T))
        d = self.wide.shape[1]
        yield "forwards", lambda x: self._finish(self._along(x.float(), np.arange(d)))
        yield "backwards", lambda x: self._finish(self._along(x.float(), np.arange(d)[::-1]))
        yield "permuted", lambda x: self._finish(self._along(x.float(), self.random.permutation(d)))
        yield "pairs", lambda x: self._finish(self._pairs(x.float(), 0, d))
        yield "blocks", lambda x: self._finish(self._blocks(x.float(), 8))
        yield (
            "lanes",
            lambda x: self._finish(sum(self._along(x.float(), np.arange(i, d, 4)) for i in range(min(4, d)))),
        )

    def _linear(self, x: Tensor) -> Tensor:
        """torch's own product in the format, with the bias where the server adds it."""
        if self.bias is None or self.head.server.bias == "before":
            return linear(x, self.weight, self.bias)
        return linear(x, self.weight) + self.bias

    def _finish(self, total: Tensor) -> Tensor:
        """Add the bias to float32 sums and round."""
        if self.bias is None:
            return total.to(self.form.dtype)
        if self.head.server.bias == "before":
            return (total + self.bias.to(torch.float32)).to(self.form.dtype)
        return (total.to(self.form.dtype).to(torch.float32) + self.bias.to(torch.float32)).to(self.form.dtype)

    def _along(self, x: Tensor, order: np.ndarray) -> Tensor:
        total = torch.zeros((len(x), len(self.wide)))
        for i in order.tolist():
            total += x[:, i, None] * self.wide[None, :, i]
        return total

    def _pairs(self, x: Tensor, start: int, end: int) -> Tensor:
        if end - start == 1:
            return x[:, start, None] * self.wide[None, :, start]
        middle = (start + end) // 2
        return self._pairs(x, start, middle) + self._pairs(x, middle, end)

    def _blocks(self, x: Tensor, width: int) -> Tensor:
        total = torch.zeros((len(x), len(self.wide)))
        for start in range(0, x.shape[1], width):
            total += x[:, start : start + width] @ self.wide[:, start : start + width].T
        return total

    def inputs(self, points: Tensor) -> Tensor:
        """What the head is given at points, by torch's own rounding of float64 numbers; NaN where that is unsure."""
        return self.head.inputs(points).to(self.form.dtype)

    def returned(self, logits: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """For each point the token that is returned, and how many share its logit."""
        values = logits.float().numpy()
        last = self.head.server.ties == "last"
        best = values[:, ::-1].argmax(axis=1) if last else values.argmax(axis=1)
        best = values.shape[1] - 1 - best if last else best
        return best, (values == values.max(axis=1, keepdims=True)).sum(axis=1)


def replay_points(machine: Machine, tokens: np.ndarray, alone: np.ndarray, points: Tensor, tally: Tally) -> None:
    """Compute points that prove something of tokens in every way, and see whether the tokens are returned."""
    step = max(1, _BLOCK_NUMBERS // len(machine.wide))
    for start in range(0, len(tokens), step):
        x = machine.inputs(points[start : start + step])
        mine, single = tokens[start : start + step], alone[start : start + step]
        for name, compute in machine.ways():
            best, count = machine.returned(compute(x))
            wrong = (best != mine) | (single & (count != 1))
            tally.add(name, len(mine), mine[wrong].tolist())


def replay_never(machine: Machine, never: np.ndarray, points: Tensor, tally: Tally) -> None:
    """Compute any points in every way, and see whether a token is returned that never is."""
    step = max(1, _BLOCK_NUMBERS // len(machine.wide))
    for part in points.split(step):
        x = machine.inputs(part)
        x = x[torch.isfinite(x.float()).all(dim=1)]
        for name, compute in machine.ways() if len(x) else ():
            best, _ = machine.returned(compute(x))
            tally.add(name, len(x), best[never[best]].tolist())


def points_against(problem: ArgmaxProblem, starts: Tensor, number: int, random: torch.Generator) -> Tensor:
    """Points all over a ball, on its edge, and near given points of all lengths: half of them each."""
    d = problem.d
    wild = far_along(problem, torch.randn((number // 2, d), generator=random, dtype=torch.float64))
    wild = wild * torch.rand((len(wild), 1), generator=random, dtype=torch.float64) ** (1 / d)
    near = starts[torch.randint(len(starts), (number - len(wild),), generator=random)] if len(starts) else wild
    near = near + near.norm(dim=1, keepdim=True) / d**0.5 * 0.02 * torch.randn(
        near.shape, generator=random, dtype=torch.float64
    )
    near = near * (1 - 0.3 * torch.rand((len(near), 1), generator=random, dtype=torch.float64) ** 3)
    both = torch.cat([wild, near])
    return problem.domain.pulled_in(both) if problem.domain.bounded else both


def replay(verdicts: Verdicts, problem: ArgmaxProblem, *, points: int, seed: int = 0) -> dict[str, Tally]:
    """Replay all that a run says, format by format.

    Args:
        verdicts: of a run with `--arithmetic`.
        problem: of its head.
        points: against the tokens that are never returned.
        seed: of these points.
    """
    served = verdicts.tables.served
    assert served is not None
    names = np.array(served.table.column("arithmetic").to_pylist())
    tallies = {}
    for server in servers(verdicts.manifest.settings, problem):
        head = ServedHead(problem, server)
        machine = Machine(head, np.random.default_rng(seed))
        tally = tallies[server.form.name] = Tally()
        rows = served.table.take(np.flatnonzero(names == server.form.name)).to_pylist()
        for kind in sorted({row["point"] for row in rows} - {None}):
            mine = [row for row in rows if row["point"] == kind and row["returned"] in ("alone", "every-order")]
            if mine:
                tokens = np.array([row["token_id"] for row in mine])
                stored = served.points.get(server.form.name, {})
                made = (
                    torch.from_numpy(np.stack([stored[token] for token in tokens.tolist()]))
                    if kind == STORED
                    else recipe_points(head.problem, kind, torch.from_numpy(tokens))
                )
                replay_points(machine, tokens, np.array([row["returned"] == "alone" for row in mine]), made, tally)
        never = np.zeros(head.v, dtype=bool)
        never[[row["token_id"] for row in rows if row["barred"] == "never"]] = True
        if never.any() and points:
            those = np.flatnonzero(never)
            starts = far_along(head.problem, head.problem.rows(torch.from_numpy(those)))
            lead = verdicts.about(problem).witnesses(those)
            found = torch.from_numpy(lead)
            starts = torch.where(torch.isfinite(found).all(dim=1)[:, None], found, starts)
            random = torch.Generator().manual_seed(seed)
            replay_never(machine, never, points_against(head.problem, starts, points, random), tally)
    return tallies


def main() -> int:
    """Read the arguments, replay, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("run")
    parser.add_argument("--points", type=int, default=20_000)
    arguments = parser.parse_args()
    verdicts = reach.open(arguments.run)
    head = reach.load(arguments.model) if arguments.model != "-" else load_again(verdicts.manifest.loading)
    fine = True
    for name, tally in replay(verdicts, head.problem(), points=arguments.points).items():
        for way, count in tally.replays.items():
            wrong = tally.wrong.get(way, [])
            fine = fine and not wrong
            which = f" {sorted(set(wrong))[:8]}" if wrong else ""
            sys.stdout.write(f"{name:<10}{way:<10}{count:>9} replays, {len(wrong)} contradictions{which}\n")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
