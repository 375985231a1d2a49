"""The whole scan report as view rows, before any HTML."""

from __future__ import annotations

from dataclasses import dataclass

from reach.runs.folder import RunFolder
from reports import plain
from reports.answer import Answer, Counts, answer, count_tokens, disagreements
from reports.domain import DomainView, domain_view
from reports.funnel import Funnel, funnel_view
from reports.glossary import GLOSSARY, Term
from reports.histogram import FRAME, Frame, Histogram
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
    frame: Frame
    method: Method
    glossary: tuple[Term, ...]
    domain: DomainView
    data: str


def scan_page(run: RunFolder) -> ScanPage:
    """Build the page's content from a run.

    Raises:
        BadInput: the run is no scan, or its tables are damaged.
    """
    manifest = run.manifest
    kind = manifest.get("kind", "scan")
    if kind != "scan":
        raise BadInput(f"{run.path / 'manifest.json'}: a run of kind {kind!r} is no scan; scan first")
    tokens = read_tokens(run)
    counts, domain = count_tokens(tokens), domain_view(manifest)
    model = plain.text(manifest.get("model"))
    short = "the model" if model == plain.NOT_RECORDED else model.rstrip("/").rpartition("/")[2] or model
    warnings = manifest.get("warnings")
    warnings = [plain.text(warning) for warning in warnings] if isinstance(warnings, list) else []
    name = run.path.resolve().name
    method = method_view(manifest, name)
    facts = {"domain": domain.kind, "offsets": domain.offsets, "run": name, "verify": method.verify}
    return ScanPage(
        title=f"What {short} can never say",
        model=model,
        started=plain.text(manifest.get("started")),
        answer=answer(counts, short, domain),
        counts=counts,
        warnings=(*warnings, *disagreements(counts, manifest.get("totals"))),
        listings=tuple(listings(tokens)),
        funnel=funnel_view(manifest.get("funnel"), manifest.get("seconds")),
        histograms=tuple(margin_histograms(tokens)),
        frame=FRAME,
        method=method,
        glossary=GLOSSARY,
        domain=domain,
        data=pack_tokens(tokens, facts),
    )
