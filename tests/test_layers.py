"""Imports go downwards: no package needs another that needs it, however long the way round."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOP = ("solvers", "reach", "reports")


def package_of(module: str) -> str | None:
    """A package of the project; modules that lie in reach/ itself belong to none, they join the others."""
    first, *rest = module.split(".")
    if first not in TOP:
        return None
    if first != "reach":
        return first
    return f"reach.{rest[0]}" if rest and (ROOT / "reach" / rest[0]).is_dir() else None


def imported(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def graph() -> dict[str, set[str]]:
    needs: dict[str, set[str]] = {}
    for top in TOP:
        for file in (ROOT / top).rglob("*.py"):
            here = package_of(".".join(file.relative_to(ROOT).with_suffix("").parts))
            if here is not None:
                others = {package_of(module) for module in imported(file)} - {here, None}
                needs.setdefault(here, set()).update(other for other in others if other is not None)
    return needs


def test_no_two_packages_need_each_other() -> None:
    needs = graph()
    order = list(TopologicalSorter(needs).static_order())  # raises where there is a circle
    assert {"solvers", "reach.heads", "reach.runs", "reach.scanning", "reports"} <= set(order)
    assert needs["solvers"] == set()
    assert "reports" not in set().union(*(needs[one] for one in needs if one not in ("reports", "reach.cli")))
