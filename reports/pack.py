"""Columns for the browser: one compressed block of typed arrays instead of a row of markup per token.

Layout before compression: the length of a JSON header (uint32, little endian), the header, padding to 8 bytes, then
the arrays, each aligned to 8 bytes at the offset (from the end of the padding) that the header gives. Strings travel
as UTF-16 code units with one length each, because that is what a script's strings are made of: lone surrogates
survive, and no decoder can stumble over hostile bytes.

Where deflate finds more in it, numbers lie there byte by byte: the first byte of each, then the second of each
(`form` in the header: apart), and whole numbers as the differences from the one before (steps).

Pages of large vocabularies would grow beyond what a browser opens at once. From `LARGE` tokens on, numbers keep 16
binary digits, rounded so that bounds stay bounds; the nearest rows are those of the tokens nearest to the edge; the
logits at witnesses are those of nearly-never tokens. `large` in the header says so.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from reach.categories.catalogue import CATALOGUE
from reach.nearly_never import FORMAT_NAMES
from reach.runs.columns import UNKNOWN, Nearest, Silenced, floats, ids
from reach.runs.schema import EVIDENCE_NAMES, FEW_BLOCKERS, VERDICT_NAMES
from reach.runs.served_summary import WORDS
from reach.verdicts import Verdicts
from reports.compression import packed
from reports.gathered import Gathered

NO_STRING = 0xFFFFFFFF
SAME_STRING, SPACED_STRING = NO_STRING - 1, NO_STRING - 2
"""In place of a length: the text is the piece, or is it but for the signs that tokenizers have for a space."""
_SPACES = str.maketrans("Ġ▁", "  ")
LARGE = 50_000
"""Tokens from which on a page holds fewer digits than its run."""
_FEW = 64
_DIGITS = 16
_MOST_NEAREST = 40_000
_KINDS = {"u1": "Uint8Array", "u2": "Uint16Array", "u4": "Uint32Array", "i4": "Int32Array"}
_KINDS |= {"f4": "Float32Array", "f8": "Float64Array"}


def pack_tokens(tokens: Verdicts, facts: dict[str, Any], more: Gathered) -> str:
    """All columns of a scan as base64 text, and what else is known of its tokens; `facts` go into the header."""
    hull, large = tokens.hull, is_large(tokens)
    nearest = _nearest(tokens, large)
    columns: dict[str, npt.NDArray] = {
        "verdict": tokens.verdict,
        "evidence": tokens.evidence,
        "own_direction": tokens.own_direction,
        "margin_lower": number_column(tokens.margin_lower, large, np.floor),
        "margin_upper": number_column(tokens.margin_upper, large, np.ceil),
        "row_norm": number_column(tokens.row_norm, large, np.rint),
        "runner_up_id": tokens.runner_up,
        "argmax_id": tokens.argmax,
        "stage": tokens.stage.codes,
        "reason": tokens.reason.codes,
        "witness": tokens.witness_kind.codes,
        "winning_logit": _logits(tokens, large),
        "nearly_never": tokens.nearly_never_in,
        "hull_token": hull.token,
        "hull_row": hull.row,
        "hull_weight": number_column(hull.weight, large, np.rint),
        **_few(tokens),
        "nearest_token": nearest.token,
        "nearest_row": nearest.row,
        # For the eye only, so a few digits are enough.
        "nearest_cosine": _rounded(nearest.cosine, np.trunc, 12 if large else 24).astype(np.float32),
        "nearest_distance": _rounded(nearest.distance, np.rint, 14 if large else 24).astype(np.float32),
    }
    columns |= _ceilings(tokens) | _silenced(tokens) | _categories(tokens)
    columns |= {f"served_{name}": code for name, code in tokens.served.items()}
    columns |= pack_texts(tokens.pieces, tokens.texts) | more.columns
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
    return len(tokens) >= LARGE


def _nearest(tokens: Verdicts, large: bool) -> Nearest:
    """Which nearest rows go into the page: all, or those of the tokens that are nearest to the edge."""
    every = tokens.nearest
    if not large or len(every.token) <= _MOST_NEAREST:
        return every
    margin = np.where(tokens.verdict == VERDICT_NAMES.index("speakable"), tokens.margin_lower, tokens.margin_upper)
    size = np.nan_to_num(np.abs(margin), nan=0.0)[every.token]
    kept = size <= np.partition(size, _MOST_NEAREST)[_MOST_NEAREST]
    return Nearest(every.token[kept], every.row[kept], every.cosine[kept], every.distance[kept])


def number_column(
    values: npt.NDArray[np.float64], large: bool, rounded: np.ufunc, binary_digits: int = _DIGITS
) -> npt.NDArray:
    """A column as the run has it where that takes little room, else with fewer digits, rounded down, up or to
    the nearest.
    """
    size = np.abs(values[np.isfinite(values) & (values != 0)])
    if not large or not len(size) or size.min() < 1e-30 or size.max() > 1e30:
        return narrow(values)
    return _rounded(values, rounded, binary_digits).astype(np.float32)


def _rounded(values: npt.NDArray[np.float64], rounded: np.ufunc, binary_digits: int) -> npt.NDArray[np.float64]:
    digits, power = np.frexp(values)
    return np.ldexp(rounded(np.ldexp(digits, binary_digits)), power - binary_digits)


def _logits(tokens: Verdicts, large: bool) -> npt.NDArray:
    """The logits at witnesses; of a large vocabulary those that a step of a number format is held against."""
    if not large:
        return narrow(tokens.winning_logit)
    return narrow(np.where(tokens.nearly_never_in < UNKNOWN, tokens.winning_logit, np.nan))


def _few(tokens: Verdicts) -> dict[str, npt.NDArray]:
    """Proofs over few blockers, the heaviest first; bounds as the run has them."""
    table = tokens.tables.few_blockers
    table = FEW_BLOCKERS.empty_table() if table is None else table
    columns = {f"few_{name}": ids(table, f"{name}_id") for name in ("token", "row")}
    return columns | {
        "few_weight": narrow(floats(table, "weight")),
        "few_bound": narrow(floats(table, "margin_upper")),
    }


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
        data, form = _smallest(np.ascontiguousarray(column, column.dtype.newbyteorder("<")))
        places[name] = {"kind": _KINDS[column.dtype.str[1:]], "offset": offset, "length": len(column), "form": form}
        blocks.append(_padded(data))
        offset += len(blocks[-1])
    # Escaped to ASCII, so lone surrogates in names pass through as well.
    text = json.dumps(header | {"columns": places}, allow_nan=False).encode("ascii")
    return _padded(len(text).to_bytes(4, "little") + text) + b"".join(blocks)


def _smallest(column: npt.NDArray) -> tuple[bytes, str]:
    """The bytes of a column in the form that deflate makes most of, and the form."""
    forms = [(column.tobytes(), "plain")]
    if column.itemsize > 1 and len(column) > _FEW:
        forms.append((_apart(column), "apart"))
        if column.dtype.kind in "iu":
            steps = np.diff(column, prepend=column.dtype.type(0))
            forms.append((_apart(steps), "steps"))
    return min(forms, key=lambda form: len(zlib.compress(form[0], 1))) if len(forms) > 1 else forms[0]


def _apart(column: npt.NDArray) -> bytes:
    return column.view(np.uint8).reshape(len(column), column.itemsize).T.tobytes()


def pack_texts(pieces: Sequence[str | None], texts: Sequence[str | None]) -> dict[str, npt.NDArray]:
    """Pieces and texts of a vocabulary: `token_length`, `token_units`, and the same of `text`.

    Most texts follow from their pieces, and need not be there twice: their length is SAME_STRING or SPACED_STRING.
    """
    special = np.zeros(len(texts), dtype=np.uint32)
    rest: list[str | None] = []
    for at, (piece, text) in enumerate(zip(pieces, texts, strict=True)):
        if piece is not None and text is not None:
            same, spaced = text == piece, text == piece.translate(_SPACES)
            special[at] = SAME_STRING if same else SPACED_STRING if spaced else 0
        rest.append(None if special[at] else text)
    token_length, token_units = pack_strings(pieces)
    text_length, text_units = pack_strings(rest)
    return {
        "token_length": token_length,
        "token_units": token_units,
        "text_length": np.where(special > 0, special, text_length),
        "text_units": text_units,
    }


def pack_strings(values: Sequence[str | None]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
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
