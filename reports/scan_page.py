"""The whole scan report as view rows, before any HTML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reach.maps.found import MapFound, stored_map
from reach.runs.folder import RunFolder
from reach.samplers import has_floor, recorded_temperature
from reports import plain
from reports.answer import Answer, Counts, answer, count_tokens, disagreements
from reports.brackets import brackets
from reports.categories import CategoriesView, categories_view
from reports.control import read_control
from reports.domain import DomainView, domain_view
from reports.edge import Edge, edge_view
from reports.funnel import Funnel, funnel_view
from reports.gathered import gathered
from reports.glossary import GLOSSARY, Term
from reports.histogram import Histogram
from reports.indicators import IndicatorsView, indicators_view
from reports.listing import Listing, listings
from reports.map_view import MapView, map_view
from reports.margins import margin_histograms
from reports.method import Method, method_view
from reports.min_p import SamplerView, sampler_view
from reports.pack import is_large, pack_tokens
from reports.portable import portable
from reports.served import ServedView, served_view


@dataclass(frozen=True)
class ScanPage:
    """Everything that the template shows."""

    title: str
    model: str
    started: str
    answer: Answer
    categories: CategoriesView
    indicators: IndicatorsView
    counts: Counts
    warnings: tuple[str, ...]
    listings: tuple[Listing, ...]
    funnel: Funnel
    histograms: tuple[Histogram, ...]
    control: str | None
    margins: str
    edge: Edge
    samplers: SamplerView
    served: ServedView
    method: Method
    glossary: tuple[Term, ...]
    domain: DomainView
    map: MapView
    data: str


def model_name(model: Any) -> str:
    """The model's name without the folders above it, or "the model"."""
    name = plain.text(model)
    return "the model" if name == plain.NOT_RECORDED else name.rstrip("/").rpartition("/")[2] or name


def scan_page(run: RunFolder, map_of: Callable[[RunFolder], MapFound] = stored_map) -> ScanPage:
    """Build the page's content from a run; `map_of` gives its map, by default the one that it holds.

    Raises:
        BadInput: the run is no scan, or its tables are damaged.
    """
    tokens = run.verdicts()
    manifest = tokens.manifest
    counts, domain = count_tokens(tokens), domain_view(manifest)
    short = model_name(manifest.model)
    name = run.path.resolve().name
    method = method_view(manifest, name)
    control = read_control(run)
    known, samplers = brackets(tokens), sampler_view(tokens, control)
    temperature = recorded_temperature(manifest)
    histograms = margin_histograms(tokens, None if control is None else control.groups)
    facts = {
        "domain": domain.kind,
        "offsets": domain.offsets,
        "run": name,
        "verify": method.verify,
        # What the bars stand for, so that a click on one shows its tokens.
        "histograms": {one.key: {"edges": one.edges, "negative": one.negative} for one in histograms if one.edges},
        "close": known.share,
        "floor": has_floor(manifest),
        "temperature": temperature,
    }
    return ScanPage(
        title=f"What {short} can never say",
        model=plain.text(manifest.model),
        started=plain.text(manifest.started),
        answer=answer(counts, short, domain),
        categories=categories_view(tokens),
        indicators=indicators_view(manifest),
        counts=counts,
        warnings=(*map(portable, manifest.warnings), *disagreements(counts, manifest.totals)),
        listings=tuple(listings(tokens)),
        funnel=funnel_view(manifest.funnel, manifest.seconds, counts.verdicts.get("undecided")),
        histograms=tuple(histograms),
        control=None if control is None else control.words(counts),
        margins=known.words,
        edge=edge_view(tokens, known),
        samplers=samplers,
        served=served_view(tokens),
        method=method,
        glossary=GLOSSARY,
        domain=domain,
        map=map_view(map_of(run)),
        data=pack_tokens(tokens, facts, gathered(run, tokens, prompts=not is_large(tokens))),
    )
