"""Small run folders made by hand, so that tests of reports need no scan."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reach.runs.schema import CONTROLS, HULL_WEIGHTS, NEAREST, SCHEMA_VERSION, VERDICTS

HOSTILE = (
    "</script><script>window.owned=1</script>",
    "<img src=x onerror='window.owned=1'>",
    "\"'`&amp;{{7*7}}",
    "\u202egnp.exe\u202c",
    "\u200f\u2066x\u2069",
    " leading\nline\tend\r",
    "\x00\x07\x1b[31m\x7f",
    "#token=3",
    '=1+1,"quoted"',
    "x" * 10_000,
    "\u0301\u0300",
    "👩‍🚀 é 中",
    "",
)


_INVISIBLE = "".join(c for c in map(chr, range(0x3100)) if unicodedata.category(c)[0] in "CZ")
_MARKED = re.compile(rf"'+(?:[\t\r\n]|[{re.escape(_INVISIBLE)}]*[=+\-@＝＋－＠])")


def unmarked(text: str) -> str:
    """What an exported text was before an apostrophe was put in front of it, by the rule in docs/certificates.md."""
    return text[1:] if _MARKED.match(text) else text


def token_row(**values: Any) -> dict[str, Any]:
    """One row of verdicts.parquet: an ordinary speakable token, but for what is given."""
    return {
        "token": "a",
        "text": values.get("token", "a"),
        "verdict": "speakable",
        "evidence": "rigorous",
        "own_direction": True,
        "margin_lower": 1.0,
        "margin_upper": None,
        "stage": "own row",
        "runner_up_id": 0,
        "row_norm": 1.0,
        "reason": None,
        "witness": "own-row",
        "argmax_id": None,
    } | values


def unspeakable_row(**values: Any) -> dict[str, Any]:
    """A row for a token that was proved unspeakable."""
    never = {"verdict": "unspeakable", "own_direction": False, "margin_lower": None, "margin_upper": -0.25}
    return token_row(**(never | {"stage": "nearest point", "witness": None} | values))


def manifest(rows: int, **values: Any) -> dict[str, Any]:
    """The manifest of a finished scan over a ball, but for what is given."""
    return {
        "schema": SCHEMA_VERSION,
        "kind": "scan",
        "status": "finished",
        "model": "tests/tiny",
        "head": {
            "architecture": "TinyForCausalLM",
            "norm": "layernorm",
            "eps": 1e-6,
            "tie": "the output matrix is a tensor of its own",
            "dtype": "float32",
            "tensors": {"weight": "lm_head.weight", "bias": "lm_head.bias", "gamma": "norm.weight"},
        },
        "fingerprint": "sha256:" + "ab" * 32,
        "v": rows,
        "d": 64,
        "domain": "ball:8",
        "settings": {"device": "cpu", "budget": {"seconds": 60, "outer": 40}, "seed": None},
        "command": ["reach", "scan", "tests/tiny", "--out", "my run"],
        "versions": {"token-reachability": "0.1.0", "numpy": "2.4.6"},
        "hardware": {"cpu": "An ordinary processor", "cores": 2, "memory_bytes": 8 << 30, "gpu": None},
        "started": "2026-01-02T03:04:05Z",
        "seconds": 12.5,
        "peak_memory_bytes": 3 << 28,
        "funnel": [
            {"stage": "own row", "rows_in": rows, "settled": max(0, rows - 2), "seconds": 0.5},
            {"stage": "nearest point", "rows_in": 2, "settled": 2, "seconds": 11.0},
        ],
        "warnings": [],
    } | values


def write_run(
    folder: Path,
    rows: list[dict[str, Any]] | pa.Table,
    hull: list[tuple[int, int, float]] = (),
    nearest: list[tuple[int, int, float, float]] | None = None,
    controls: list[dict[str, Any]] | None = None,
    **values: Any,
) -> Path:
    """Write a run folder from rows (see `token_row`); `values` replace entries of the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    if not isinstance(rows, pa.Table):
        rows = pa.Table.from_pylist([{"token_id": at} | row for at, row in enumerate(rows)], schema=VERDICTS)
    pq.write_table(rows, folder / "verdicts.parquet")
    names = HULL_WEIGHTS.names
    weights = pa.Table.from_pylist([dict(zip(names, one, strict=True)) for one in hull], schema=HULL_WEIGHTS)
    pq.write_table(weights, folder / "hull_weights.parquet")
    if nearest is not None:
        near = [dict(zip(NEAREST.names, one, strict=True)) for one in nearest]
        pq.write_table(pa.Table.from_pylist(near, schema=NEAREST), folder / "nearest.parquet")
    if controls is not None:
        pq.write_table(pa.Table.from_pylist(controls, schema=CONTROLS), folder / "controls.parquet")
    (folder / "manifest.json").write_text(json.dumps(manifest(rows.num_rows, **values)), encoding="utf-8")
    return folder


def write_big_run(folder: Path, rows: int, tokens: list[str] | None = None, **values: Any) -> Path:
    """A run of many rows: some 0.3 % unspeakable, 5 % hard-to-speak, a few tied and undecided."""
    rng = np.random.default_rng(0)
    if tokens is None:
        letters = np.array(list("etaoinshrdlucmfwypvbgk"))
        tokens = [
            ("Ġ" if first else "") + "".join(letters[rng.integers(0, 22, length)])
            for first, length in zip(rng.random(rows) < 0.6, rng.integers(2, 10, rows), strict=True)
        ]
    draw = rng.random(rows)
    draw[: min(50, rows)] = 1.0  # the commonest tokens are all plain
    kinds = np.select([draw < 0.003, draw < 0.053, draw < 0.054, draw < 0.055], [0, 1, 2, 3], 4)
    never, hard, tied, undecided = (kinds == at for at in range(4))
    said = (kinds == 4) | hard
    lower = np.where(hard, rng.lognormal(-3, 1.3, rows), rng.lognormal(1.0, 0.6, rows))
    lower = np.where(undecided, -1e-7, lower)
    upper = np.where(never, -rng.lognormal(-2.5, 1.2, rows), np.where(undecided, 2e-7, lower * 1.01))
    stage = np.select(
        [never, hard, tied, undecided], ["nearest point", "centred row", "equal rows", "exact"], "own row"
    )
    evidence = np.select([never & (draw < 0.001), undecided], ["exact", ""], "rigorous")
    runner = (np.arange(rows) * 7 + 3) % rows
    table = pa.table(
        {
            "token_id": np.arange(rows, dtype=np.int32),
            "token": tokens,
            "text": [token.replace("Ġ", " ") for token in tokens],
            "verdict": np.select(
                [never, tied, undecided], ["unspeakable", "tied", "undecided"], "speakable"
            ).tolist(),
            "evidence": [name or None for name in evidence.tolist()],
            "own_direction": pa.array(kinds == 4, mask=tied | undecided),
            "margin_lower": pa.array(lower, mask=~said & ~undecided),
            "margin_upper": pa.array(upper, mask=tied | (kinds == 4)),
            "stage": stage.tolist(),
            "runner_up_id": pa.array(runner, mask=tied),
            "row_norm": rng.lognormal(0.5, 0.2, rows),
            "reason": pa.array(np.full(rows, "the margin lies inside the rounding error").tolist(), mask=~undecided),
            "witness": pa.array(np.where(hard, "stored", "own-row").tolist(), mask=~said),
            "argmax_id": pa.array(runner, mask=~tied),
        }
    )
    hull = []
    for token in np.flatnonzero(never).tolist():
        others = rng.choice(rows, min(9, rows), replace=False)
        weights = rng.dirichlet(np.full(len(others), 0.7))
        hull += [(token, int(row), float(weight)) for row, weight in zip(others, weights, strict=True)]
    funnel = []
    left = rows
    for name, settled, seconds in (
        ("equal rows", int(tied.sum()), 0.12),
        ("own row", int((kinds == 4).sum()), 2.31),
        ("centred row", int(hard.sum()), 4.9),
        ("nearest point", int(never.sum()), 31.8),
        ("exact", 0, 3.05),
    ):
        funnel.append({"stage": name, "rows_in": left, "settled": settled, "seconds": seconds})
        left -= settled
    return write_run(folder, table.cast(VERDICTS), hull, **({"funnel": funnel, "seconds": 42.9} | values))
