"""Columns for the browser: one compressed block of typed arrays instead of a row of markup per token.

Layout before compression: the length of a JSON header (uint32, little endian), the header, padding to 8 bytes, then
the arrays, each aligned to 8 bytes at the offset (from the end of the padding) that the header gives. Strings travel
as UTF-16 code units with one length each, because that is what a script's strings are made of: lone surrogates
survive, and no decoder can stumble over hostile bytes.

Floats lie there byte by byte: the first byte of each, then the second of each. Deflate finds more in that.

Pages of large vocabularies would grow beyond what a browser opens at once. From `_LARGE` tokens on, numbers keep 16
binary digits, rounded so that bounds stay bounds; the nearest rows are those of the tokens nearest to the edge; the
logits at witnesses are those of nearly-never tokens. `large` in the header says so.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from reach.categories.catalogue import CATALOGUE
from reach.nearly_never import FORMAT_NAMES
from reach.runs.columns import UNKNOWN, Nearest, Silenced
from reach.runs.schema import EVIDENCE_NAMES, VERDICT_NAMES
from reach.runs.served_summary import WORDS
from reach.verdicts import Verdicts
from reports.gathered import Gathered
from reports.library import packed

NO_STRING = 0xFFFFFFFF
SAME_STRING = 0xFFFFFFFE
"""In place of a length: the text is the piece."""
NOTHING_MORE = Gathered(header={"search": None, "compared": None, "suspects": None})
_LARGE = 50_000
_DIGITS = 16
_MOST_NEAREST = 40_000
_KINDS = {"u1": "Uint8Array", "u2": "Uint16Array", "u4": "Uint32Array", "i4": "Int32Array"}
_KINDS |= {"f4": "Float32Array", "f8": "Float64Array"}


def pack_tokens(tokens: Verdicts, facts: dict[str, Any], more: Gathered = NOTHING_MORE) -> str:
    """All columns of a scan as base64 text, and what else is known of its tokens; `facts` go into the header."""
    hull, large = tokens.hull, is_large(tokens)
    nearest = _nearest(tokens, large)
    columns: dict[str, npt.NDArray] = {
        "verdict": tokens.verdict,
        "evidence": tokens.evidence,
        "own_direction": tokens.own_direction,
        "margin_lower": _number(tokens.margin_lower, large, np.floor),
        "margin_upper": _number(tokens.margin_upper, large, np.ceil),
        "row_norm": _number(tokens.row_norm, large, np.rint),
        "runner_up_id": tokens.runner_up,
        "argmax_id": tokens.argmax,
        "stage": tokens.stage.codes,
        "reason": tokens.reason.codes,
        "witness": tokens.witness_kind.codes,
        "winning_logit": _logits(tokens, large),
        "nearly_never": tokens.nearly_never_in,
        "hull_token": hull.token,
        "hull_row": hull.row,
        "hull_weight": _number(hull.weight, large, np.rint),
        "nearest_token": nearest.token,
        "nearest_row": nearest.row,
        # For the eye only, so a few digits are enough.
        "nearest_cosine": _rounded(nearest.cosine, np.trunc, 12).astype(np.float32),
        "nearest_distance": _rounded(nearest.distance, np.rint, 14).astype(np.float32),
    }
    columns |= _ceilings(tokens) | _silenced(tokens) | _categories(tokens)
    columns |= {f"served_{name}": code for name, code in tokens.served.items()}
    columns |= _strings(tokens) | more.columns
    for name, values in more.texts.items():
        columns[f"{name}_length"], columns[f"{name}_units"] = pack_strings(values)
    header = (
        facts
        | more.header
        | {
            "rows": len(tokens),
            "large": large,
            "verdicts": VERDICT_NAMES,
            "evidences": EVIDENCE_NAMES,
            "stages": tokens.stage.names,
            "reasons": tokens.reason.names,
            "witnesses": tokens.witness_kind.names,
            "formats": FORMAT_NAMES,
            "served": list(tokens.served),
            "served_classes": WORDS,
            "categories": [] if tokens.categories is None else [one._asdict() for one in CATALOGUE],
            "category_details": () if tokens.categories is None else tokens.categories.detail.names,
        }
    )
    return packed(pack(header, columns))


def is_large(tokens: Verdicts) -> bool:
    """Whether the page keeps fewer digits and leaves some out, so that a browser can open it."""
    return len(tokens) >= _LARGE


def _strings(tokens: Verdicts) -> dict[str, npt.NDArray]:
    """Pieces and texts; most texts are their pieces, and need not be there twice."""
    same = np.array(
        [piece is not None and piece == text for piece, text in zip(tokens.pieces, tokens.texts, strict=True)]
    )
    texts = [None if is_same else text for is_same, text in zip(same, tokens.texts, strict=True)]
    columns: dict[str, npt.NDArray] = {}
    for name, values in (("token", tokens.pieces), ("text", texts)):
        columns[f"{name}_length"], columns[f"{name}_units"] = pack_strings(values)
    columns["text_length"][same] = SAME_STRING
    return columns


def _nearest(tokens: Verdicts, large: bool) -> Nearest:
    """Which nearest rows go into the page: all, or those of the tokens that are nearest to the edge."""
    every = tokens.nearest
    if not large or len(every.token) <= _MOST_NEAREST:
        return every
    margin = np.where(tokens.verdict == VERDICT_NAMES.index("speakable"), tokens.margin_lower, tokens.margin_upper)
    size = np.nan_to_num(np.abs(margin), nan=0.0)[every.token]
    kept = size <= np.partition(size, _MOST_NEAREST)[_MOST_NEAREST]
    return Nearest(every.token[kept], every.row[kept], every.cosine[kept], every.distance[kept])


def _number(values: npt.NDArray[np.float64], large: bool, rounded: np.ufunc) -> npt.NDArray:
    """A column as the run has it where that takes little room, else with fewer digits, rounded down, up or to
    the nearest.
    """
    size = np.abs(values[np.isfinite(values) & (values != 0)])
    if not large or not len(size) or size.min() < 1e-30 or size.max() > 1e30:
        return narrow(values)
    return _rounded(values, rounded, _DIGITS).astype(np.float32)


def _rounded(values: npt.NDArray[np.float64], rounded: np.ufunc, binary_digits: int) -> npt.NDArray[np.float64]:
    digits, power = np.frexp(values)
    return np.ldexp(rounded(np.ldexp(digits, binary_digits)), power - binary_digits)


def _logits(tokens: Verdicts, large: bool) -> npt.NDArray:
    """The logits at witnesses; of a large vocabulary those that a step of a number format is held against."""
    if not large:
        return narrow(tokens.winning_logit)
    return narrow(np.where(tokens.nearly_never_in < UNKNOWN, tokens.winning_logit, np.nan))


def _ceilings(tokens: Verdicts) -> dict[str, npt.NDArray]:
    """Bounds on ln p, rounded outwards: for the eye only. Empty where a run has none."""
    names = ("ceiling_lower", "ceiling_upper")
    if tokens.tables.ceilings is None:
        return {name: np.zeros(0, np.float32) for name in names}
    lower, upper = tokens.ceiling
    return dict(zip(names, (-_up(-lower), _up(upper)), strict=True))


def _up(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    half = values.astype(np.float32)
    return np.where(half < values, np.nextafter(half, np.float32(np.inf)), half)


def _silenced(tokens: Verdicts) -> dict[str, npt.NDArray]:
    names = ("silenced_token", "silenced_count", "silenced_pair", "silenced_by", "silenced_bound")
    found = tokens.silenced
    if found is None:
        none = np.zeros(0, np.int32)
        found = Silenced(none, none, none, none, np.zeros(0))
    return dict(zip(names, (found.token, found.count, found.pair, found.by, narrow(found.bound)), strict=True))


def _categories(tokens: Verdicts) -> dict[str, npt.NDArray]:
    names = ("category_token", "category_code", "category_detail", "category_start", "category_other")
    found = tokens.categories
    if found is None:
        none = np.zeros(0, np.int32)
        return dict(zip(names, (none, none.astype(np.uint8), none, none, none), strict=True))
    start = found.start.astype(np.int32)
    return dict(zip(names, (found.token, found.category, found.detail.codes, start, found.other), strict=True))


def pack(header: dict[str, Any], columns: dict[str, npt.NDArray]) -> bytes:
    """Lay out a header and arrays as the module's docstring says."""
    places, blocks, offset = {}, [], 0
    for name, column in columns.items():
        places[name] = {"kind": _KINDS[column.dtype.str[1:]], "offset": offset, "length": len(column)}
        data = np.ascontiguousarray(column, column.dtype.newbyteorder("<"))
        if data.dtype.kind == "f":
            data = data.view(np.uint8).reshape(len(column), data.itemsize).T
        blocks.append(_padded(data.tobytes()))
        offset += len(blocks[-1])
    # Escaped to ASCII, so lone surrogates in names pass through as well.
    text = json.dumps(header | {"columns": places}, allow_nan=False).encode("ascii")
    return _padded(len(text).to_bytes(4, "little") + text) + b"".join(blocks)


def pack_strings(values: list[str | None]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
    """Lengths (NO_STRING for null) and code units of strings."""
    units = [b"" if value is None else value.encode("utf-16-le", "surrogatepass") for value in values]
    lengths = np.array([len(unit) // 2 for unit in units], dtype=np.uint32)
    lengths[[value is None for value in values]] = NO_STRING
    return lengths, np.frombuffer(b"".join(units), dtype="<u2")


def narrow(values: npt.NDArray[np.float64]) -> npt.NDArray:
    """Halve a float column where that loses nothing: what the page shows and exports is what the run holds."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float32)
    return half if np.array_equal(half.astype(np.float64), values, equal_nan=True) else values


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 8)
