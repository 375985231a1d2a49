"""What a written page says, block by block, and the numbers in it, for tests that count them again."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

_BLOCKS = frozenset(
    ["p", "li", "dt", "dd", "th", "td", "caption", "figcaption", "summary", "h1", "h2", "h3", "pre", "title", "text"]
)
_VOID = frozenset(["meta", "link", "input", "br"])
_UNREAD = frozenset(["script", "style", "option"])
# No part of a word (bfloat16), of a version (2.13.0) or of an id (#3).
NUMBER = re.compile(r"(?<![\w.#])[−+-]?\d[\d,]*(?:\.\d+)?(?:e[−+-]?\d+)?(?![\w]|\.\d)")


class Bound(float):
    """A value that a page may round up or down; any other is rounded to the nearest."""


def memory(size: int) -> list[float]:
    """Bytes in the unit in which pages give them."""
    return [size / 2**30 if size >= 2**30 else size / 2**20]


@dataclass(frozen=True)
class Number:
    """A number as it is written."""

    text: str

    @property
    def value(self) -> float:
        return float(self._plain)

    def stands_for(self, exact: float) -> bool:
        """Whether it is this value, rounded to the digits that are written."""
        step = float(Decimal(1).scaleb(int(Decimal(self._plain).as_tuple().exponent)))
        off = abs(self.value - exact)
        near = off < step * (1 - 1e-9) if isinstance(exact, Bound) else off <= step * (0.5 + 1e-9)
        return near or math.isclose(self.value, exact, rel_tol=1e-12)

    @property
    def _plain(self) -> str:
        return self.text.replace(",", "").replace("−", "-")


@dataclass
class Block:
    """The text of one element, without that of other such elements in it and without the tokens' own strings."""

    tag: str
    style: str
    said: str = ""

    @property
    def numbers(self) -> list[Number]:
        """All numbers that it says, in order."""
        return [Number(one.rstrip(",")) for one in NUMBER.findall(self.said)]

    @property
    def words(self) -> str:
        """Its text on one line."""
        return " ".join(self.said.split())


@dataclass
class Part:
    """A section of a page: its blocks in order, and the rows of its tables, cell by cell."""

    blocks: list[Block] = field(default_factory=list)
    tables: list[list[list[Block]]] = field(default_factory=list)


class Ledger:
    """A page, of which every number must be accounted for.

    `says`, `rows` and `facts` hold blocks and tables against numbers that the test has counted itself; `rest` is what
    no test has looked at.
    """

    def __init__(self, file: Path) -> None:
        self.parts = parts_of(file.read_text(encoding="utf-8"))
        self._seen: set[int] = set()

    def says(self, part: str, words: str, *values: float) -> None:
        """The first block of a section that goes like this (and was not looked at yet) says these numbers."""
        block = next((one for one in self._open(part) if re.search(words, one.words)), None)
        assert block is not None, f"{part}: nothing says {words!r}"
        self.agree(block, values)

    def rows(self, part: str, table: int, expected: Iterable[Sequence[Sequence[float] | None]]) -> None:
        """The rows of a table below its head hold these numbers, cell by cell; None for a cell of words."""
        found = [row for row in self.parts[part].tables[table] if any(cell.tag == "td" for cell in row[1:])]
        wanted = list(expected)
        assert len(found) == len(wanted), (part, table)
        for row, cells in zip(found, wanted, strict=True):
            assert len(row) == len(cells), [cell.words for cell in row]
            for cell, values in zip(row, cells, strict=True):
                self.agree(cell, values or ())

    def facts(self, part: str, names: Mapping[str, Sequence[float] | str]) -> None:
        """Rows of two cells, by their name: numbers, or the whole text."""
        rows = {row[0].words: row for table in self.parts[part].tables for row in table if len(row) == 2}
        for name, expected in names.items():
            title, value = rows[name]
            self._seen.add(id(title))
            if isinstance(expected, str):
                assert value.words == expected, name
                self._seen.add(id(value))
            else:
                self.agree(value, expected)

    def prose(self, part: str, *words: str) -> None:
        """Blocks of a section whose numbers are the same on every page."""
        for said in words:
            found = [one for one in self._open(part) if re.search(said, one.words)]
            assert found, f"{part}: nothing says {said!r}"
            self._seen |= {id(one) for one in found}

    def blocks(self, part: str, tag: str, style: str = "") -> list[Block]:
        """Blocks of a kind."""
        return [
            one for one in self.parts[part].blocks if one.tag == tag and (not style or style in one.style.split())
        ]

    def agree(self, block: Block, values: Sequence[float]) -> None:
        """A block says these numbers and no others."""
        said = block.numbers
        assert len(said) == len(values), (block.words, values)
        for one, exact in zip(said, values, strict=True):
            assert one.stands_for(exact), (block.words, one.text, exact)
        self._seen.add(id(block))

    @property
    def rest(self) -> list[str]:
        """Blocks with numbers that nobody has looked at. Labels of axes are left out: what they say depends on the
        axis alone, and the tests of charts hold them against it."""
        return [
            f"{name}: {one.words}"
            for name in self.parts
            for one in self._open(name)
            if one.tag != "text" and one.numbers
        ]

    def _open(self, part: str) -> list[Block]:
        return [one for one in self.parts[part].blocks if id(one) not in self._seen]


def parts_of(page: str) -> dict[str, Part]:
    """The sections of a page by their id or that of their heading; "" is what lies in none."""
    reader = _Reader()
    reader.feed(page)
    return reader.parts


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: dict[str, Part] = {"": Part()}
        self.open: list[tuple[str, str]] = []
        self.blocks: list[Block] = []

    @property
    def part(self) -> Part:
        name = next((key for tag, key in reversed(self.open) if tag == "section"), "")
        return self.parts.setdefault(name, Part())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "br":
            self._say(" ")
        if tag in _VOID:
            return
        self.open.append((tag, given.get("id") or given.get("aria-labelledby", "")))
        if tag == "table":
            self.part.tables.append([])
        if tag == "tr":
            self.part.tables[-1].append([])
        if tag in _BLOCKS:
            block = Block(tag, given.get("class", ""))
            self.blocks.append(block)
            self.part.blocks.append(block)
            if tag in ("th", "td"):
                self.part.tables[-1][-1].append(block)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self._say(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        while self.open:
            ended, _ = self.open.pop()
            if ended in _BLOCKS:
                self.blocks.pop()
            if ended == tag:
                return

    def handle_data(self, data: str) -> None:
        if not any(tag in _UNREAD or tag == "bdi" for tag, _ in self.open):
            self._say(data)

    def _say(self, data: str) -> None:
        if self.blocks:
            self.blocks[-1].said += data
