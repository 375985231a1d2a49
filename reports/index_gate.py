"""What the release gate said of a run's model: `check.json`, which `reach check MODEL --json` gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from reach.bounded import is_there, read_json
from reach.gate.asked import MUST
from reach.runs.reading import as_typed
from reports import plain
from reports.scan_page import model_name
from solvers.errors import BadInput

FILE = "check.json"
_AGAIN = "write it again with 'reach check MODEL --json'"


class _Token(Struct, frozen=True):
    side: str
    fails: str | None


class _Record(Struct, frozen=True):
    model: str
    tokens: list[_Token]


@dataclass(frozen=True)
class Gate:
    """Tokens that must be said: how many were asked about and how many fail; or the problem why that is not known."""

    asked: int | None = None
    failures: int | None = None
    problem: str = ""


def read_gate(run: Path, model: str | None) -> Gate | None:
    """The gate's record beside a scan of `model`; None where there is none."""
    file = run / FILE
    if not is_there(file):
        return None
    try:
        record = as_typed(read_json(file, again=_AGAIN), _Record, FILE, again=_AGAIN)
    except BadInput as error:
        return Gate(problem=str(error).replace(f"{run}/", ""))
    if model_name(record.model) != model_name(model):
        return Gate(problem=f"{FILE} is about another model, {plain.text(record.model)}; {_AGAIN}")
    must = [token for token in record.tokens if token.side == MUST]
    return Gate(len(must), sum(token.fails is not None for token in must))
