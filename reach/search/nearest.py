"""What an embedding witness is like: the nearest real tokens of each of its positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from torch import Tensor

from reach.runs.atomic import write_whole
from reach.search.ledger import Ledger
from reach.search.replay import points_of
from reach.search.stored import distinct

NEAREST = pa.schema(
    [
        ("token_id", pa.int32()),
        ("level", pa.string()),
        ("position", pa.int32()),
        ("row_id", pa.list_(pa.int32())),  # nearest first
        ("distance", pa.list_(pa.float32())),
    ]
)
_SHOWN = 5


def write_nearest(folder: Path, ledger: Ledger, rows: Float[Tensor, "v d"]) -> None:
    """Write `nearest.parquet` for all witnesses that are no prompts."""
    owners: list[tuple[int, str, int]] = []
    points: list[Tensor] = []
    for token, witness in distinct(ledger):
        found = points_of(witness, rows)
        if found is not None:
            owners += [(token, witness.level, position) for position in range(len(found))]
            points += list(found)
    ids, distances = np.zeros((0, _SHOWN), dtype=np.int32), np.zeros((0, _SHOWN), dtype=np.float32)
    if points:
        parts = []
        for part in torch.stack(points).to(rows.device).split(512):
            best = torch.cdist(part, rows).topk(min(_SHOWN, len(rows)), dim=1, largest=False)
            parts.append((best.indices.cpu().numpy(), best.values.cpu().numpy()))
        ids, distances = (np.concatenate(one) for one in zip(*parts, strict=True))
    columns: list[list[object]] = [[owner[at] for owner in owners] for at in range(3)]
    columns += [list(ids.astype(np.int32)), list(distances.astype(np.float32))]
    table = pa.table(dict(zip(NEAREST.names, columns, strict=True)), schema=NEAREST)
    write_whole(folder / "nearest.parquet", lambda partial: pq.write_table(table, partial))
