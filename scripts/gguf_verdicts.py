"""The table of docs/gguf.md: what storing a head in each type of GGUF changes in the verdicts. Needs the extra gguf.

The head is written, read back and scanned for each type. Blocks of 256 need rows of a multiple of that: shorter ones
get zeros at their end, which are taken off again after reading, so that a block holds one row and nothing else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from gguf_writing import SUPER, write_gguf

from reach.api import load, scan
from reach.heads.gguf.types import stored_types
from reach.heads.head import Head
from reach.options import default_jobs
from reach.progress import silent
from reach.verdicts import Verdicts
from solvers.errors import BadInput

KINDS = ("F16", "BF16", "Q8_0", "Q6_K", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "Q4_K")
_SHOWN = 4


@dataclass(frozen=True)
class Change:
    """What a stored type did to a head.

    Attributes:
        kind: the type.
        bits: of a number.
        error: the mean distance of a row from the original one, over its length.
        verdicts: of the head as it was read back.
        lost, won: tokens that became unspeakable, and that are so no longer.
    """

    kind: str
    bits: float
    error: float
    verdicts: Verdicts
    lost: list[int]
    won: list[int]


def main(
    model: Annotated[str, typer.Argument(help="Model folder, Hub id, or demo.")],
    kinds: Annotated[str, typer.Option(help="Types, separated by commas.")] = ",".join(KINDS),
) -> None:
    try:
        head = load(model)
        if head.norm is None:
            raise BadInput(f"{model} has no final norm, which every architecture of GGUF has")
        before = scan(head, progress=silent, jobs=default_jobs())
        changes = [change(head, before, kind) for kind in kinds.split(",")]
    except BadInput as error:
        typer.echo(f"gguf_verdicts: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(markdown(head, before, changes))


def change(head: Head, before: Verdicts, kind: str) -> Change:
    """Store a head as one type, read it back and scan it."""
    with tempfile.TemporaryDirectory() as folder:
        found = read_back(head, kind, Path(folder))
        rows, stored = head.weight.double(), found.weight.double()
        after = scan(found, progress=silent, jobs=default_jobs())
    error = ((stored - rows).norm(dim=1) / rows.norm(dim=1).clamp_min(1e-30)).mean()
    one = next(known for known in stored_types().values() if known.name == kind)
    gone, was = set(after.unspeakable.tolist()), set(before.unspeakable.tolist())
    return Change(kind, 8 * one.bytes / one.numbers, float(error), after, sorted(gone - was), sorted(was - gone))


def read_back(head: Head, kind: str, folder: Path) -> Head:
    """The head that a GGUF file of one type holds, in the width of the original."""
    numbers = next((known.numbers for known in stored_types().values() if known.name == kind), SUPER)
    rows = head.weight.float().numpy()
    padded = np.pad(rows, ((0, 0), (0, -head.d % numbers)))
    width = padded.shape[1]
    parts = {"gamma": torch.ones(head.d) if head.gamma is None else head.gamma, "beta": head.beta, "b": head.bias}
    arrays = {name: part.float().numpy() for name, part in parts.items() if part is not None}
    layer = head.norm == "layernorm"
    key = "layer_norm_epsilon" if layer else "layer_norm_rms_epsilon"
    names = {"gamma": "output_norm.weight", "beta": "output_norm.bias", "b": "output.bias"}
    tensors = {"output.weight": padded}
    tensors |= {names[name]: np.resize(part, width) if name != "b" else part for name, part in arrays.items()}
    if layer:
        architecture = "gpt2" if head.bias is None else "phi2"
        tensors.setdefault("output_norm.bias", np.zeros(width, np.float32))
    else:
        architecture = "qwen2"
    file = write_gguf(
        folder / "head.gguf", architecture, tensors, kind, {f".attention.{key}": head.eps}
    )  # fmt: skip
    stored = load(file)
    if width == head.d:
        return stored
    return load({"W": stored.weight[:, : head.d].numpy(), **arrays, "norm": head.norm, "eps": head.eps})


def markdown(head: Head, before: Verdicts, changes: Sequence[Change]) -> str:
    """The table, the head as it is stored first."""
    lines = [
        "| stored as | bits | rows move by | unspeakable | hard-to-speak | undecided | newly unspeakable | not now |",
        "|---|---:|---:|---:|---:|---:|---|---|",
        _row(f"{head.dtype} (the model's own)", None, before),
    ]
    lines += [_row(one.kind, one, one.verdicts, one.lost, one.won, before.pieces) for one in changes]
    return "\n".join(lines)


def _row(
    name: str,
    change: Change | None,
    verdicts: Verdicts,
    lost: Sequence[int] = (),
    won: Sequence[int] = (),
    pieces: Sequence[str | None] = (),
) -> str:
    totals = verdicts.totals
    cells = [
        name,
        "" if change is None else f"{change.bits:g}",
        "" if change is None else f"{100 * change.error:.2g} %",
        str(totals.verdicts["unspeakable"]),
        str(totals.hard_to_speak),
        str(totals.verdicts["undecided"]),
        _some(lost, pieces),
        _some(won, pieces),
    ]
    return f"| {' | '.join(cells)} |"


def _some(ids: Sequence[int], pieces: Sequence[str | None]) -> str:
    if not ids:
        return "none"
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return f"{len(ids)}: {', '.join(_shown(one, pieces[one]) for one in ids[:_SHOWN])}{more}"


def _shown(token: int, piece: str | None) -> str:
    """A token's piece where a table can hold it, else its id."""
    return f"`{piece}`" if piece and piece.isprintable() and not set(piece) & set("|`") else str(token)


if __name__ == "__main__":
    typer.run(main)
