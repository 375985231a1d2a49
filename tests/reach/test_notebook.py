"""docs/notebook.ipynb runs from top to bottom, and says what it shows."""

from __future__ import annotations

import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebook.ipynb"


def cells() -> list[dict[str, Any]]:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def run_cell(source: str, scope: dict[str, Any]) -> str:
    """What a notebook shows of a cell: what it prints, then the value of its last line."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(tree, str(NOTEBOOK), "exec"), scope)
        value = None if last is None else eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), scope)
    return out.getvalue() + ("" if value is None else repr(value))


def _text(output: dict[str, Any]) -> list[str]:
    return output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"]


def test_every_cell_shows_what_the_notebook_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {"__name__": "__main__"}
    shown = [run_cell("".join(cell["source"]), scope) for cell in cells()]
    said = ["".join(text for output in cell["outputs"] for text in _text(output)) for cell in cells()]
    assert [one.strip() for one in shown] == [one.strip() for one in said]
    assert sum(map(bool, said)) >= 5
