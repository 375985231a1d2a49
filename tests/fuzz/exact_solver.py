"""An exact solver for small heads: who can win, over which domain, by how much. It shares no code with the project.

Everything is rational. On the whole space and on a box it is a linear program (integer pivoting, Bland's rule), on a
ball the point of least norm of a polyhedron (the dual active-set method of Goldfarb and Idnani 1983). Every answer
comes with a point or with weights, and is checked against the definition before it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

Vector = list[Fraction]
ZERO, ONE = Fraction(0), Fraction(1)


def dot(a: Sequence[Fraction], b: Sequence[Fraction]) -> Fraction:
    return sum((x * y for x, y in zip(a, b, strict=True)), ZERO)


@dataclass(frozen=True)
class Everywhere:
    """All of R^d."""


@dataclass(frozen=True)
class InBall:
    """‖z‖² < square."""

    square: Fraction


@dataclass(frozen=True)
class InBox:
    """lo ≤ z ≤ hi."""

    lo: Vector
    hi: Vector


Region = Everywhere | InBall | InBox


class ExactHead:
    """Rows and offsets in rational numbers, over a region."""

    def __init__(self, rows: list[Vector], offsets: Vector, region: Region) -> None:
        self.rows, self.offsets, self.region = rows, offsets, region
        self.v, self.d = len(rows), len(rows[0])

    def equal_to(self, t: int) -> list[int]:
        """All tokens whose row and offset equal those of t, t among them."""
        mine = (self.rows[t], self.offsets[t])
        return [j for j in range(self.v) if (self.rows[j], self.offsets[j]) == mine]

    def where_margins_are(self) -> ExactHead:
        """Margins on the whole space, without offsets, are those over the unit ball."""
        return ExactHead(self.rows, self.offsets, InBall(ONE)) if isinstance(self.region, Everywhere) else self

    def verdict(self, t: int) -> str:
        """Speakable, tied or unspeakable."""
        same = self.equal_to(t)
        if not self.wins(t):
            return "unspeakable"
        return "speakable" if len(same) == 1 else "tied"

    def wins(self, t: int, lead: Fraction = ZERO) -> bool:
        """Whether t leads all rows that differ from it by more than `lead` somewhere in the region."""
        differences, offsets = self._against(t)
        if not differences:
            return True
        offsets = [offset - lead for offset in offsets]
        if isinstance(self.region, InBox):
            return box_margin(differences, offsets, self.region) > 0
        point = interior_point(differences, offsets)
        if point is None or isinstance(self.region, Everywhere):
            return point is not None
        # The open set of winning points is not empty, so the least norm of its closure is not undercut inside it.
        nearest = least_norm(differences, offsets)
        assert nearest is not None
        return dot(nearest, nearest) < self.region.square

    def reaches(self, t: int, lead: Fraction) -> bool:
        """Whether the margin of t, as a supremum over the region, is at least `lead` (on a ball or a box)."""
        differences, offsets = self._against(t)
        offsets = [offset - lead for offset in offsets]
        if isinstance(self.region, InBox):
            return box_margin(differences, offsets, self.region) >= 0
        assert isinstance(self.region, InBall)
        nearest = least_norm(differences, offsets)
        return nearest is not None and dot(nearest, nearest) <= self.region.square

    def least_square(self, t: int) -> Fraction | None:
        """The least ‖z‖² where t is as high as all others: at that R² a ball just touches. None: it never is."""
        differences, offsets = self._against(t)
        if not differences or interior_point(differences, offsets) is None:
            return None
        nearest = least_norm(differences, offsets)
        return None if nearest is None else dot(nearest, nearest)

    def critical(self, t: int) -> tuple[Vector | None, dict[int, Fraction]]:
        """A point and weights (over rows that differ from t) where t begins to win, if there are such."""
        same = set(self.equal_to(t))
        others = [j for j in range(self.v) if j not in same]
        differences, offsets = self._against(t)
        if not differences:
            return None, {}
        found = least_norm_with_prices(differences, offsets)
        if found is None or not any(found[1]):
            # 0 is as good as any point, or no point is: then weights show it.
            columns = [[*row, ONE] for row in differences]
            program = minimum(columns, [ZERO] * self.d + [ONE], offsets)
            weights = program.solution if program.feasible else []
            return None if found is None else found[0], dict(zip(others, weights, strict=False))
        total = sum(found[1], ZERO)
        return found[0], {j: price / total for j, price in zip(others, found[1], strict=True) if price}

    def logits(self, point: Vector) -> Vector:
        """A z + c."""
        return [dot(row, point) + offset for row, offset in zip(self.rows, self.offsets, strict=True)]

    def dual_not_above(self, t: int, weights: dict[int, Fraction], bound: Fraction) -> bool:
        """Whether sup over the region of Σλ_j(A[t]−A[j])·z + c[t]−c[j] is at most `bound`; weights with any sum."""
        total = sum(weights.values(), ZERO)
        v = [x * total for x in self.rows[t]]
        room = (bound - self.offsets[t]) * total
        for j, weight in weights.items():
            v = [x - weight * y for x, y in zip(v, self.rows[j], strict=True)]
            room += weight * self.offsets[j]
        if isinstance(self.region, InBox):
            corners = zip(self.region.lo, v, self.region.hi, strict=True)
            return sum((max(lo * x, hi * x) for lo, x, hi in corners), ZERO) <= room
        if isinstance(self.region, InBall):
            return room >= 0 and self.region.square * dot(v, v) <= room * room
        return room >= 0 and not any(v)

    def holds(self, point: Vector) -> bool:
        """Whether a point lies in the region."""
        if isinstance(self.region, InBox):
            return all(lo <= x <= hi for lo, x, hi in zip(self.region.lo, point, self.region.hi, strict=True))
        return not isinstance(self.region, InBall) or dot(point, point) < self.region.square

    def margin(self, t: int) -> Fraction:
        """The margin over a box."""
        assert isinstance(self.region, InBox)
        return box_margin(*self._against(t), self.region)

    def _against(self, t: int) -> tuple[list[Vector], Vector]:
        same = set(self.equal_to(t))
        others = [j for j in range(self.v) if j not in same]
        differences = [[a - b for a, b in zip(self.rows[t], self.rows[j], strict=True)] for j in others]
        return differences, [self.offsets[t] - self.offsets[j] for j in others]


# --- linear programs -----------------------------------------------------------------------------------------------


def interior_point(differences: list[Vector], offsets: Vector) -> Vector | None:
    """A z with differences·z + offsets > 0 in every row, or None where there is none (proved by weights)."""
    d = len(differences[0])
    columns = [[*row, ONE] for row in differences]
    program = minimum(columns, [ZERO] * d + [ONE], offsets)
    point: Vector | None = None
    if not program.feasible:
        # Weights do not exist at all: some direction has a positive product with every row.
        direction = [-y for y in program.dual[:d]]
        slowest = min(dot(row, direction) for row in differences)
        assert slowest > 0
        length = max((max(ZERO, -offset) / slowest for offset in offsets), default=ZERO) + 1
        point = [length * x for x in direction]
    elif program.value > 0:
        point = [-y for y in program.dual[:d]]
    if point is not None:
        assert all(dot(row, point) + offset > 0 for row, offset in zip(differences, offsets, strict=True))
        return point
    weights = program.solution
    assert all(weight >= 0 for weight in weights)
    assert sum(weights) == 1
    assert all(dot(weights, column) == 0 for column in zip(*differences, strict=True))
    assert dot(weights, offsets) <= 0
    return None


def box_margin(differences: list[Vector], offsets: Vector, box: InBox) -> Fraction:
    """max over the box of the least of differences·z + offsets, checked from both sides."""
    d = len(differences[0])
    axis = [[ONE if i == k else ZERO for i in range(d)] + [ZERO] for k in range(d)]
    columns = [[*row, ONE] for row in differences] + [[-x for x in e] for e in axis] + axis
    program = minimum(columns, [ZERO] * d + [ONE], [*offsets, *box.hi, *(-x for x in box.lo)])
    assert program.feasible
    point = [-y for y in program.dual[:d]]
    assert all(lo <= x <= hi for lo, x, hi in zip(box.lo, point, box.hi, strict=True))
    assert min(dot(row, point) + offset for row, offset in zip(differences, offsets, strict=True)) == program.value
    weights = program.solution[: len(differences)]
    assert all(weight >= 0 for weight in weights)
    assert sum(weights) == 1
    v = [dot(weights, column) for column in zip(*differences, strict=True)]
    corner = sum((max(lo * x, hi * x) for lo, x, hi in zip(box.lo, v, box.hi, strict=True)), ZERO)
    assert corner + dot(weights, offsets) == program.value
    return program.value


@dataclass(frozen=True)
class Program:
    """The end of a linear program: its value, a basic solution and the prices of its rows."""

    feasible: bool
    value: Fraction
    solution: Vector
    dual: Vector


def minimum(columns: list[Vector], right: Vector, costs: Vector) -> Program:
    """min costs·x with Σ x_j·columns[j] = right ≥ 0 and x ≥ 0; where infeasible, `dual` shows it.

    Two phases on one tableau of integers: each entry is an integer over the last pivot (Edmonds' pivoting).
    """
    m, n = len(right), len(columns)
    scale = common(x for column in [*columns, right] for x in column)
    rows = [
        [int(columns[j][i] * scale) for j in range(n)] + [int(i == k) for k in range(m)] + [int(right[i] * scale)]
        for i in range(m)
    ]
    price = common(costs)
    phases = [[0] * n + [1] * m, [int(cost * price) for cost in costs] + [0] * m]
    # Objective rows: cost less what the basis (the artificial columns) already costs.
    goals = [
        [cost - sum(phase[n + i] * rows[i][j] for i in range(m)) for j, cost in enumerate([*phase, 0])]
        for phase in phases
    ]
    basis, divisor = [n + i for i in range(m)], 1
    for number, goal in enumerate(goals):
        while True:
            # Bland's rule: the first column that gains, and of the tightest rows the one whose variable comes first.
            enters = next((j for j in range(n) if goal[j] < 0), None)
            if enters is None:
                break
            tight = [(Fraction(row[-1], row[enters]), basis[i], i) for i, row in enumerate(rows) if row[enters] > 0]
            if not tight:
                raise ArithmeticError("unbounded: the caller's programs never are")
            leaves = min(tight)[2]
            divisor = pivot([*rows, *goals], leaves, enters, divisor)
            basis[leaves] = enters
        if number == 0 and goal[-1] != 0:
            # With prices y: y·right > 0, yet y·column ≤ 0 for every column.
            return Program(False, ZERO, [], [(1 - Fraction(goal[n + i], divisor)) * scale for i in range(m)])
        if number == 0:
            for i in range(m):
                # An artificial column left in the basis at 0: exchange it, or the row says nothing.
                if basis[i] >= n:
                    other = next((j for j in range(n) if rows[i][j] != 0), None)
                    if other is not None:
                        if rows[i][other] < 0:
                            rows[i] = [-x for x in rows[i]]
                            # The row belongs to an artificial variable at 0, whose sign does not matter.
                        divisor = pivot([*rows, *goals], i, other, divisor)
                        basis[i] = other
    solution = [ZERO] * n
    for i, j in enumerate(basis):
        if j < n:
            solution[j] = Fraction(rows[i][-1], divisor)
    dual = [-Fraction(goals[1][n + i], divisor) * scale / price for i in range(m)]
    return Program(True, dot(costs, solution), solution, dual)


def pivot(rows: list[list[int]], r: int, c: int, divisor: int) -> int:
    """Bring column c to the unit vector of row r, in place. All divisions are exact."""
    pivot_row, p = rows[r], rows[r][c]
    for i, row in enumerate(rows):
        if i != r:
            factor = row[c]
            row[:] = [(x * p - factor * y) // divisor for x, y in zip(row, pivot_row, strict=True)]
    return p


def common(values: Iterable[Fraction]) -> int:
    """A common denominator."""
    return lcm(*(x.denominator for x in values))


# --- points of least norm ------------------------------------------------------------------------------------------


def least_norm(normals: list[Vector], offsets: Vector) -> Vector | None:
    """The z of least ‖z‖ with normals·z + offsets ≥ 0, or None where there is none."""
    found = least_norm_with_prices(normals, offsets)
    return None if found is None else found[0]


def least_norm_with_prices(normals: list[Vector], offsets: Vector) -> tuple[Vector, Vector] | None:
    """The same, and the prices with z = Σ prices·normals: only rows that hold z back have one."""
    d = len(normals[0])
    z, active, price = [ZERO] * d, [], []
    while True:
        broken = next((j for j in range(len(normals)) if dot(normals[j], z) + offsets[j] < 0), None)
        if broken is None:
            break
        gain = ZERO
        while True:
            gram = [[dot(normals[i], normals[j]) for j in active] for i in active]
            shares = solve(gram, [dot(normals[i], normals[broken]) for i in active])
            step = list(normals[broken])
            for share, i in zip(shares, active, strict=True):
                step = [x - share * y for x, y in zip(step, normals[i], strict=True)]
            slope = dot(step, normals[broken])
            limits = [(price[k] / share, active[k], k) for k, share in enumerate(shares) if share > 0]
            full = -(dot(normals[broken], z) + offsets[broken]) / slope if slope > 0 else None
            if full is None and not limits:
                # normals[broken] = Σ shares·normals[active] with shares ≤ 0: a positive combination is 0, and
                # its offset negative.
                combined = offsets[broken] - dot(shares, [offsets[i] for i in active])
                assert combined < 0
                assert all(x == 0 for x in step)
                return None
            drops = bool(limits) and (full is None or min(limits)[0] < full)
            length = min(limits)[0] if drops else full
            assert length is not None
            z = [x + length * y for x, y in zip(z, step, strict=True)]
            price = [p - length * share for p, share in zip(price, shares, strict=True)]
            gain += length
            if not drops:
                active.append(broken)
                price.append(gain)
                break
            k = min(limits)[2]
            del active[k], price[k]
    # The conditions of Karush, Kuhn and Tucker.
    assert all(dot(row, z) + offset >= 0 for row, offset in zip(normals, offsets, strict=True))
    assert all(p >= 0 for p in price)
    assert all(dot(normals[i], z) + offsets[i] == 0 for i in active)
    assert z == [sum((p * normals[i][k] for p, i in zip(price, active, strict=True)), ZERO) for k in range(d)]
    prices = [ZERO] * len(normals)
    for p, i in zip(price, active, strict=True):
        prices[i] = p
    return z, prices


def solve(matrix: list[Vector], right: Vector) -> Vector:
    """The solution of a regular system, by Gauss and Jordan."""
    n = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for k in range(n):
        swap = next(i for i in range(k, n) if rows[i][k] != 0)
        rows[k], rows[swap] = rows[swap], rows[k]
        rows[k] = [x / rows[k][k] for x in rows[k]]
        for i in range(n):
            if i != k and rows[i][k] != 0:
                factor = rows[i][k]
                rows[i] = [x - factor * y for x, y in zip(rows[i], rows[k], strict=True)]
    return [row[-1] for row in rows]
