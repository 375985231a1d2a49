"""The whole scan report as view rows, before any HTML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reach.runs.folder import RunFolder
from reports import plain
from reports.answer import Answer, Counts, answer, count_tokens, disagreements
from reports.control import read_control
from reports.domain import DomainView, domain_view
from reports.funnel import Funnel, funnel_view
from reports.glossary import GLOSSARY, Term
from reports.histogram import FRAME, Frame, Histogram, figure
from reports.listing import Listing, listings
from reports.margins import margin_histograms
from reports.method import Method, method_view
from reports.pack import pack_tokens
from reports.tokens import read_tokens
from solvers.errors import BadInput


@dataclass(frozen=True)
class ScanPage:
    """Everything that the template shows."""

    title: str
    model: str
    started: str
    answer: Answer
    counts: Counts
    warnings: tuple[str, ...]
    listings: tuple[Listing, ...]
    funnel: Funnel
    histograms: tuple[Histogram, ...]
    control: str | None
    frame: Frame
    method: Method
    glossary: tuple[Term, ...]
    domain: DomainView
    data: str


def scan_manifest(run: RunFolder) -> dict[str, Any]:
    """The manifest of a scan.

    Raises:
        BadInput: the run is of another kind.
    """
    kind = run.manifest.get("kind", "scan")
    if kind != "scan":
        raise BadInput(f"{run.path / 'manifest.json'}: a run of kind {kind!r} is no scan; scan first")
    return run.manifest


def model_name(manifest: Mapping[str, Any]) -> str:
    """The model's name without the folders above it, or "the model"."""
    model = plain.text(manifest.get("model"))
    return "the model" if model == plain.NOT_RECORDED else model.rstrip("/").rpartition("/")[2] or model


def scan_page(run: RunFolder) -> ScanPage:
    """Build the page's content from a run.

    Raises:
        BadInput: the run is no scan, or its tables are damaged.
    """
    manifest = scan_manifest(run)
    tokens = read_tokens(run)
    counts, domain = count_tokens(tokens), domain_view(manifest)
    model = plain.text(manifest.get("model"))
    short = model_name(manifest)
    warnings = manifest.get("warnings")
    warnings = [plain.text(warning) for warning in warnings] if isinstance(warnings, list) else []
    name = run.path.resolve().name
    method = method_view(manifest, name)
    control = read_control(run)
    histograms = margin_histograms(tokens, None if control is None else control.groups)
    facts = {
        "domain": domain.kind,
        "offsets": domain.offsets,
        "run": name,
        "verify": method.verify,
        "histograms": [figure(one) for one in histograms],
    }
    return ScanPage(
        title=f"What {short} can never say",
        model=model,
        started=plain.text(manifest.get("started")),
        answer=answer(counts, short, domain),
        counts=counts,
        warnings=(*warnings, *disagreements(counts, manifest.get("totals"))),
        listings=tuple(listings(tokens)),
        funnel=funnel_view(manifest.get("funnel"), manifest.get("seconds"), counts.verdicts.get("undecided")),
        histograms=tuple(histograms),
        control=None if control is None else control.words,
        frame=FRAME,
        method=method,
        glossary=GLOSSARY,
        domain=domain,
        data=pack_tokens(tokens, facts),
    )
