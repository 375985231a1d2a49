"""The page of a comparison of solver backends: `solvers.html`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reach.classes import CLASSES
from reach.compare.ranking import ranked, strongest_words
from reach.compare.record import Comparison, Detection, Domains, Grade, Hidden, Outcome, Rate
from reach.runs.atomic import RUN_AGAIN, write_page
from reach.runs.folder import RunFolder
from reach.runs.manifest import Manifest
from reports import plain
from reports.charts.drawing import Drawing
from reports.compression import packed
from reports.domain import domain_view
from reports.method import Facts
from reports.render import render_page
from reports.scan_page import model_name
from reports.site import Site, own_site
from reports.solver_figures import (
    Limits,
    PairCell,
    detection_figures,
    hidden_figure,
    pair_cells,
    profile_figure,
    profile_note,
)
from solvers.errors import BadInput

_SCRIPTS = (
    "decode.js",
    "marks.js",
    "numbers.js",
    "disagree.js",
    "solvers.js",
    "start.js",
)
_PROBLEMS = {
    "model": "the model's own head",
    "gaussian": "a random head with rows of the same size",
    "covariance": "a random head with the same covariance and norms",
}


@dataclass(frozen=True)
class RateView:
    """A share with its 95 % interval, in words."""

    words: str
    interval: str
    share: float | None


@dataclass(frozen=True)
class BackendRow:
    """One backend's grades on one problem."""

    name: str
    version: str
    given: int
    verified: RateView
    right: RateView
    claims: int
    false_unspeakable: int
    false_speakable: int
    missed: int
    limit_hit: int
    failures: str
    seconds: str
    gap: str
    sentence: str
    wrong: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class ProblemView:
    """All backends on one problem."""

    key: str
    words: str
    size: int
    strata: str
    rows: tuple[BackendRow, ...]


@dataclass(frozen=True)
class HiddenRow:
    """What a method found, what it is estimated to have missed, and the truth."""

    method: str
    budget: str
    found: int
    estimate: str
    interval: str
    truth: int
    holds: bool | None


@dataclass(frozen=True)
class DomainPair:
    """The same head over two domains: in words how many tokens changed class, and each change with its count.

    A change that cannot be true of both, since one domain lies inside the other, is marked.
    """

    first: str
    second: str
    words: str
    changes: tuple[tuple[str, str, int, bool], ...]


@dataclass(frozen=True)
class SolversPage:
    """Everything that the template shows."""

    title: str
    lead: str
    model: str
    problems: tuple[ProblemView, ...]
    backends: tuple[str, ...]
    pairs: tuple[tuple[str, tuple[PairCell, ...]], ...]
    hidden: tuple[HiddenRow, ...]
    hidden_plot: Drawing | None
    profile: Drawing | None
    profile_note: str
    detection: tuple[Limits, ...]
    limits: tuple[Detection, ...]
    domains: tuple[tuple[str, dict[str, int]], ...]
    domain_classes: tuple[str, ...]
    domain_pairs: tuple[DomainPair, ...]
    unjudged: tuple[tuple[str, int], ...]
    options: tuple[tuple[str, str, str, str, str], ...]
    abilities: tuple[tuple[str, str, str, str, str, str], ...]
    missing: Facts
    settings: Facts
    versions: Facts
    run: Facts
    data: str


def write_solvers_page(
    run: Path, out: Path | None = None, *, force: bool = True, again: str = RUN_AGAIN, site: Site | None = None
) -> Path:
    """Write the page of `compare-solvers`: `solvers.html` in the run folder, or `out`.

    `again` says what to do once the reason why it cannot be written is mended; `site`, which pages
    there are beside it.

    Raises:
        BadInput: the run holds no comparison, it is damaged or of another schema, or the page cannot be written.
    """
    file = run / Comparison.PAGE if out is None else out
    page = solvers_page(run)
    write_page(
        file,
        render_page("solvers.html", scripts=_SCRIPTS, page=page, site=site or own_site(run, file, Comparison.FILE)),
        force=force,
        again=again,
    )
    return file


def solvers_page(run: Path) -> SolversPage:
    """Build the page's content.

    Raises:
        BadInput: the comparison is missing or not what this version writes.
    """
    found = Comparison.read(run)
    return _page(found, _names(run, found))


def _names(run: Path, found: Comparison) -> dict[int, str]:
    """Tokens as the run's own table spells them, or as the comparison noted them where that is gone."""
    names = {int(token): name for token, name in found.tokens.items() if token.isascii() and token.isdigit()}
    try:
        verdicts = RunFolder.open(run).verdicts()
    except BadInput:
        return names
    for token in filter(lambda one: one < len(verdicts), list(names)):
        known = verdicts.name(token)
        if known is not None:
            names[token] = known
    return names


def _page(found: Comparison, names: dict[int, str]) -> SolversPage:
    problems = tuple(_problem(key, part, names) for key, part in found.problems.items())
    main = next(problem for problem in problems if problem.key == "model")
    domains = found.domains or Domains()
    compared = {grade.backend for part in found.problems.values() for grade in part.grades}
    return SolversPage(
        title=f"Solvers on {model_name(found.model)}",
        lead=_lead(main, found.main.grades),
        model=plain.text(found.model),
        problems=(main, *(problem for problem in problems if problem is not main)),
        backends=tuple(row.name for row in main.rows),
        pairs=pair_cells(found),
        hidden=tuple(_hidden(one) for one in found.hidden or ()),
        hidden_plot=hidden_figure(found.hidden or ()),
        profile=profile_figure(found.main.profile),
        profile_note=profile_note(found.main.profile),
        detection=detection_figures(found.detection or ()),
        limits=found.detection or (),
        domains=_domains(domains.verdicts),
        domain_classes=_domain_classes(domains.verdicts),
        domain_pairs=_domain_pairs(domains),
        unjudged=tuple((_over(name), n) for name, n in domains.open.items() if n),
        options=tuple(
            (
                row.backend,
                row.option,
                plain.text(row.value),
                plain.text(row.read_back),
                "none" if row.tightest is None else plain.text(row.tightest),
            )
            for row in found.settings_map
            if row.backend in compared
        ),
        abilities=tuple(
            (
                one.name,
                plain.text(one.version),
                plain.text(one.domains),
                plain.text(one.devices),
                "yes" if one.proves_negative else "no",
                one.note or "",
            )
            for one in found.backends
            if one.missing is None and one.name in compared
        ),
        missing=tuple((one.name, one.missing) for one in found.backends if one.missing is not None),
        settings=tuple(plain.flat(asdict(found.settings))),
        versions=tuple((name, plain.text(version)) for name, version in found.versions.items()),
        run=_run_facts(found),
        data=packed(json.dumps(_plots(found, names), allow_nan=False).encode("ascii")),
    )


def _domains(verdicts: Mapping[str, Mapping[str, int]]) -> tuple[tuple[str, dict[str, int]], ...]:
    """Counts by domain, with the same names in the same order for each: a record leaves out what it did not meet."""
    names = _domain_classes(verdicts)
    return tuple(
        (_over(domain), {name: counts.get(name, 0) for name in names}) for domain, counts in verdicts.items()
    )


def _over(domain: str) -> str:
    return domain_view(Manifest(domain=domain)).words


def _domain_classes(verdicts: Mapping[str, Mapping[str, int]]) -> tuple[str, ...]:
    """The columns that the table of domains needs: a class that one domain lacks counts 0 there."""
    found = {name for counts in verdicts.values() for name in counts}
    known = ("speakable", *CLASSES)
    return (*(name for name in known if name in found), *sorted(found - set(known)))


def _domain_pairs(domains: Domains) -> tuple[DomainPair, ...]:
    """Every two domains; in words from the comparison itself, which counts all of them in one way."""
    words = {(one.first, one.second): one.words for one in domains.pairs}
    pairs = dict.fromkeys([*words, *((change.first, change.second) for change in domains.changes)])
    return tuple(
        DomainPair(
            _over(first),
            _over(second),
            words.get((first, second), ""),
            tuple(
                (one.before, one.after, one.count, one.contradiction)
                for one in domains.changes
                if (one.first, one.second) == (first, second)
            ),
        )
        for first, second in pairs
    )


def _lead(main: ProblemView, grades: tuple[Grade, ...]) -> str:
    wrong = [row for row in main.rows if row.false_unspeakable or row.false_speakable]
    silent = [row for row in main.rows if row.claims == 0]
    text = f"{plain.plural(len(main.rows), 'backend')} were given up to {plain.plural(main.size, 'token')} each. "
    text += f"{strongest_words(grades)} "
    if not wrong:
        return text + "No claim was false."
    liars = f"{len(wrong)} of them made false claims: {', '.join(row.name for row in wrong)}."
    return text + liars + (f" {len(silent)} made no claim at all." if silent else "")


def _problem(key: str, part: Outcome, names: dict[int, str]) -> ProblemView:
    rows = ranked(part.grades)
    strata = ", ".join(f"{count} {name}" for name, count in part.sample.strata.items())
    views = tuple(_backend(grade, names if key == "model" else {}) for grade in rows)
    return ProblemView(key, _PROBLEMS.get(key, key), part.sample.size, strata, views)


def _backend(grade: Grade, names: dict[int, str]) -> BackendRow:
    return BackendRow(
        name=grade.backend,
        version=plain.text(grade.version),
        given=grade.given,
        verified=_rate(grade.verified, grade.given, grade.verified_rate),
        right=_rate(grade.right, grade.claims, grade.right_rate),
        claims=grade.claims,
        false_unspeakable=grade.false_unspeakable,
        false_speakable=grade.false_speakable,
        missed=grade.missed,
        limit_hit=grade.limit_hit,
        failures=", ".join(f"{count} {kind}" for kind, count in grade.failures.items()) or "0",
        seconds=_seconds(grade.seconds_median),
        gap="–" if grade.gap_median is None else f"{grade.gap_median:.2g}",
        sentence=grade.sentence,
        wrong=tuple((token, names.get(token, f"#{token}")) for token in grade.wrong_tokens),
    )


def _rate(count: int, of: int, rate: Rate | None) -> RateView:
    if rate is None:
        return RateView("–", "", None)
    return RateView(f"{count} of {of}", f"{100 * rate.low:.0f}–{100 * rate.high:.0f} %", rate.rate)


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _hidden(one: Hidden) -> HiddenRow:
    best = one.best
    return HiddenRow(
        method=one.method,
        budget=f"{one.restarts} × {one.budget}",
        found=one.found,
        estimate="–" if best is None else f"{best.estimate:,.0f}",
        interval="" if best is None else best.interval,
        truth=one.truth,
        holds=None if best is None else best.holds_truth,
    )


def _run_facts(found: Comparison) -> Facts:
    hardware = found.hardware
    return (
        ("Model", plain.text(found.model)),
        ("Vocabulary × width", f"{found.v:,} × {found.d:,}"),
        ("Domain", found.domain),
        ("Fingerprint of A and c", found.fingerprint),
        ("Started", plain.text(found.started)),
        ("Took", plain.seconds(found.seconds)),
        ("At most, by its options", plain.seconds(found.longest)),
        ("Processor", plain.text(hardware.get("cpu"))),
        ("Cores", plain.count(hardware.get("cores"))),
        ("GPU", "none" if "gpu" in hardware and not hardware["gpu"] else plain.text(hardware.get("gpu"))),
    )


def _plots(found: Comparison, names: dict[int, str]) -> dict[str, Any]:
    apart = found.main.disagreements
    return {
        "backends": apart.backends,
        "counts": apart.counts,
        "compared": apart.compared,
        "tokens": [
            {
                "id": one.token_id,
                "name": names.get(one.token_id, f"#{one.token_id}"),
                "truth": one.truth,
                "claims": one.claims,
            }
            for one in apart.tokens
        ],
    }
