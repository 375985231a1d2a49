"""The runs of a folder for its start page, each from its manifest: what was scanned, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from reach.model_year import stated_year
from reach.names import is_called, with_names
from reach.natural_order import in_order
from reach.runs.folder import LOOKED_OVER, RunFolder
from reach.runs.manifest import Manifest, Totals
from reports import plain
from reports.domain import DomainView, domain_view, norm_name
from reports.index_gate import FILE as GATE_FILE
from reports.index_gate import Gate, read_gate
from reports.portable import portable
from reports.scan_page import model_name
from reports.site import SCAN, TRACE, held, page_files, title_of
from solvers.errors import BadInput

_DEEPEST = 3
_ENDINGS = ("ForCausalLM", "LMHeadModel", "ForMaskedLM", "ForConditionalGeneration", "LMModel", "Model")
_NOTHING = Totals(0, {}, {}, 0, 0)

Pages = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class IndexedRun:
    """A run of the folder. Where it cannot be read, `problem` says why and the rest is empty.

    Attributes:
        name: its folder, from the indexed one.
        model: as the scan was told.
        recorded: the same as the manifest has it.
        place: what finds the model again: tells models apart that are shown alike.
        architecture, family: the class of the model, and without the usual endings.
        v, d: tokens and dimensions; None where not recorded.
        tying: `tied`, `untied`, or empty where the scan does not say.
        norm, dtype: of the head; empty where there is none, or not recorded.
        domain: in words, after "over".
        group: runs of one group ask the same: over all that the model's own norm can put out, or over one domain.
        asked: tokens that were asked for.
        totals: the counts.
        gate: what the release gate said of the tokens that must be said; None where it was not asked.
        year: that the model's files name.
        started: when the scan began.
        seconds: that it took.
        pages: title and address of those that are there, the scan's first.
        problem: why nothing is known.
    """

    name: str
    model: str = ""
    recorded: str = ""
    place: str = ""
    architecture: str = ""
    family: str = ""
    v: int | None = None
    d: int | None = None
    tying: str = ""
    norm: str = ""
    dtype: str = ""
    domain: str = ""
    group: str = ""
    totals: Totals = _NOTHING
    gate: Gate | None = None
    year: int | None = None
    started: str = ""
    seconds: float | None = None
    pages: Pages = ()
    problem: str | None = None

    @property
    def asked(self) -> int:
        """Tokens that the scan was asked about."""
        return self.totals.tokens

    @property
    def verdicts(self) -> dict[str, int]:
        """Counts by verdict."""
        return self.totals.verdicts

    @property
    def hard_to_speak(self) -> int:
        """Speakable tokens that do not win along their own row."""
        return self.totals.hard_to_speak

    @property
    def other_name(self) -> str:
        """The model's name, unless the folder has the same."""
        return "" if model_name(self.recorded) == self.name.rpartition("/")[2] else self.model

    @property
    def whole(self) -> bool:
        """Whether every token of the vocabulary was asked about."""
        return self.problem is None and self.v == self.asked

    @property
    def share(self) -> str:
        """Of the tokens asked for, how many are unspeakable, in words."""
        return plain.share(self.verdicts.get("unspeakable", 0), self.asked)


def runs_below(folder: Path) -> list[Path]:
    """The run folders in a folder, up to three levels down, in the order of their names: numbers by their size."""
    return sorted(_below(folder, _DEEPEST), key=lambda path: [in_order(part) for part in path.parts])


def traces_below(folder: Path) -> list[Path]:
    """Folders with the page of a trace, as deep as runs are looked for."""
    return sorted(path for path in _below(folder, _DEEPEST, _has_trace))


def _has_trace(folder: Path) -> bool:
    return all((folder / name).is_file() for name in TRACE)


def _below(folder: Path, depth: int, wanted: Callable[[Path], object] = held) -> list[Path]:
    if wanted(folder):
        return [folder]
    if depth == 0:
        return []
    try:
        below = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return []
    return [run for entry in below for run in _below(entry, depth - 1, wanted)]


Stamp = tuple[tuple[str, int, int], ...]


def signature(folder: Path) -> tuple[tuple[Path, Stamp], ...]:
    """What a start page depends on: its runs, and the times and sizes of their files that it looks at.

    Two that are equal belong to the same page.
    """
    return tuple((run, _stamp(run)) for run in (*runs_below(folder), *traces_below(folder)))


def _stamp(run: Path) -> Stamp:
    names = {*page_files(), *page_files().values(), GATE_FILE, *(f"{name}.parquet" for name in LOOKED_OVER)}
    found = []
    with suppress(OSError), os.scandir(run) as entries:
        for entry in entries:
            if entry.name in names:
                about = entry.stat()
                found.append((entry.name, about.st_mtime_ns, about.st_size))
    return tuple(sorted(found))


def read_run(path: Path, folder: Path, out: Path) -> IndexedRun:
    """What the list says of a run; `out` is where the page will lie.

    A run is read once in a process for as long as its files stay as they are: a page that is written anew after each
    of hundreds of scans costs as little as one scan's.
    """
    return _read(path, folder, out, _stamp(path))


@lru_cache(maxsize=2**14)
def _read(path: Path, folder: Path, out: Path, stamp: Stamp) -> IndexedRun:  # noqa: ARG001
    name = path.relative_to(folder).as_posix() if path != folder else path.resolve().name
    pages = _pages(path, out)
    if SCAN not in held(path):
        studies = " and ".join(title_of(record).lower() for record in held(path))
        return IndexedRun(name, pages=pages, problem=f"no scan, only: {studies}")
    try:
        run = RunFolder.open(path)
        totals, manifest = run.totals(), run.record
    except BadInput as error:
        # The list names the folder already.
        problem = str(error).removeprefix(f"{path}: ").removeprefix(f"{path / 'manifest.json'}: ")
        return IndexedRun(name, pages=pages, problem=portable(with_names(problem)))
    return _indexed(name, path, manifest, totals, pages)


def _indexed(name: str, path: Path, manifest: Manifest, totals: Totals, pages: Pages) -> IndexedRun:
    head, domain = manifest.head, domain_view(manifest)
    architecture = _text(head.architecture) if head else ""
    return IndexedRun(
        name=name,
        model=plain.text(manifest.model),
        recorded=str(manifest.model),
        place=_place(manifest),
        architecture=architecture,
        family=_family(architecture),
        v=manifest.v,
        d=manifest.d,
        tying=_tying(_text(head.tie) if head else ""),
        norm=norm_name(manifest) or "",
        dtype=_text(head.dtype) if head else "",
        domain=domain.words,
        group=_group(domain),
        totals=totals,
        gate=read_gate(path, manifest.model),
        year=stated_year(manifest.loading),
        started=plain.text(manifest.started).replace("T", " ")[:16],
        seconds=plain.finite(manifest.seconds),
        pages=pages,
    )


def _place(manifest: Manifest) -> str:
    loading = manifest.loading
    if loading is None or loading.model is None:
        return str(manifest.model)
    return f"{loading.model}@{loading.revision or ''}"


def _text(value: object) -> str:
    return plain.text(value) if isinstance(value, str) and value else ""


def _family(architecture: str) -> str:
    """'LlamaForCausalLM' is 'Llama'; what has no such ending, or nothing else, stays."""
    ending = next((one for one in _ENDINGS if architecture.endswith(one) and architecture != one), "")
    return architecture.removesuffix(ending)


def _tying(words: str) -> str:
    kind = words.partition(":")[0]
    return kind if kind in ("tied", "untied") else ""


def _group(domain: DomainView) -> str:
    """Balls of the norm's own radius are one question, whatever the width."""
    if domain.kind == "ball" and domain.whole:
        return "all that the model's own final norm can put out"
    return domain.words


def _pages(run: Path, out: Path) -> Pages:
    """The pages that lie in a run folder, by addresses: names of folders may hold anything, even no text.

    From a page elsewhere nothing leads to those of runs at a URL.
    """
    return tuple(
        (title_of(record), address_of(run / page, out))
        for record, page in held(run).items()
        if (run / page).is_file() and is_called(run) == is_called(out)
    )


def address_of(page: Path, out: Path) -> str:
    """The address of a page from the page at `out`."""
    return quote(os.fsencode(Path(os.path.relpath(page.resolve(), out.resolve().parent)).as_posix()))
