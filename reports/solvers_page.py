"""A comparison of solver backends as view rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reach.classes import CLASSES
from reach.compare.summary import head_words
from reach.runs.folder import RunFolder
from reach.runs.manifest import Manifest
from reports import plain
from reports.domain import domain_view
from reports.library import packed
from reports.method import Facts
from reports.scan_page import model_name
from solvers.errors import BadInput

KNOWN_SCHEMA = 1
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
class LimitRow:
    """The smallest margin that a backend finds on one planted head."""

    backend: str
    head: str
    budget: str
    tried: str
    speakable: str
    unspeakable: str
    misclaimed: int


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
    hidden: tuple[HiddenRow, ...]
    limits: tuple[LimitRow, ...]
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


def read_solvers(run: Path) -> dict[str, Any]:
    """The comparison of a run folder.

    Raises:
        BadInput: there is none, or it is damaged or of another schema.
    """
    file = run / "solvers.json"
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(
            f"{run}: holds no comparison; make one with 'reach compare-solvers MODEL --out {run}'"
        ) from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{file}: not readable as JSON ({error}); compare again") from None
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != KNOWN_SCHEMA:
        raise BadInput(f"{file}: schema {schema!r}, but this version reads {KNOWN_SCHEMA}; compare again with it")
    return found


def solvers_page(run: Path) -> SolversPage:
    """Build the page's content.

    Raises:
        BadInput: the comparison is missing or not what this version writes.
    """
    found = read_solvers(run)
    try:
        return _page(found, _names(run, found))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise BadInput(f"{run / 'solvers.json'}: not as this version writes it ({error!r}); compare again") from None


def _names(run: Path, found: dict[str, Any]) -> dict[int, str]:
    """Tokens as the run's own table spells them, or as the comparison noted them where that is gone."""
    names = {int(token): str(name) for token, name in plain.mapping(found.get("tokens")).items()}
    try:
        verdicts = RunFolder.open(run).verdicts()
    except BadInput:
        return names
    for token in filter(lambda one: 0 <= one < len(verdicts), list(names)):
        known = verdicts.name(token)
        if known is not None:
            names[token] = known
    return names


def _page(found: dict[str, Any], names: dict[int, str]) -> SolversPage:
    problems = tuple(_problem(key, part, names) for key, part in found["problems"].items())
    main = problems[0]
    domains = plain.mapping(found.get("domains"))
    backends = [plain.mapping(entry) for entry in found.get("backends", [])]
    here = [entry for entry in backends if "missing" not in entry]
    return SolversPage(
        title=f"Solvers on {model_name(found.get('model'))}",
        lead=_lead(main),
        model=plain.text(found.get("model")),
        problems=problems,
        backends=tuple(row.name for row in main.rows),
        hidden=tuple(_hidden(one) for one in found.get("hidden") or []),
        limits=tuple(_limit(one) for one in found.get("detection") or []),
        domains=_domains(plain.mapping(domains.get("verdicts"))),
        domain_classes=_domain_classes(plain.mapping(domains.get("verdicts"))),
        domain_pairs=_domain_pairs(domains),
        unjudged=tuple((_over(name), int(n)) for name, n in plain.mapping(domains.get("open")).items() if n),
        options=tuple(
            (
                str(row["backend"]),
                str(row["option"]),
                plain.text(row["value"]),
                plain.text(row["read_back"]),
                "none" if row["tightest"] is None else plain.text(row["tightest"]),
            )
            for row in found.get("settings_map", [])
        ),
        abilities=tuple(
            (
                plain.text(entry.get("name")),
                plain.text(entry.get("version")),
                plain.text(entry.get("domains")),
                plain.text(entry.get("devices")),
                "yes" if entry.get("proves_negative") else "no",
                str(entry.get("note") or ""),
            )
            for entry in here
        ),
        missing=tuple((plain.text(e.get("name")), plain.text(e["missing"])) for e in backends if "missing" in e),
        settings=tuple(plain.flat(plain.mapping(found.get("settings")))),
        versions=tuple((str(n), plain.text(v)) for n, v in plain.mapping(found.get("versions")).items()),
        run=_run_facts(found),
        data=packed(json.dumps(_plots(found, main, names), allow_nan=False).encode("ascii")),
    )


def _domains(verdicts: Mapping[str, Any]) -> tuple[tuple[str, dict[str, int]], ...]:
    """Counts by domain, with the same names in the same order for each: a record leaves out what it did not meet."""
    names = _domain_classes(verdicts)
    return tuple(
        (_over(domain), {name: int(counts.get(name, 0)) for name in names}) for domain, counts in verdicts.items()
    )


def _over(domain: Any) -> str:
    return domain_view(Manifest(domain=domain)).words


def _domain_classes(verdicts: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that the table of domains needs: a class that one domain lacks counts 0 there."""
    found = {name for counts in verdicts.values() for name in counts}
    known = ("speakable", *CLASSES)
    return (*(name for name in known if name in found), *sorted(found - set(known)))


def _domain_pairs(domains: Mapping[str, Any]) -> tuple[DomainPair, ...]:
    """Every two domains; in words from the comparison itself, which counts all of them in one way."""
    changes = domains.get("changes", [])
    words = {(one["first"], one["second"]): str(one["words"]) for one in domains.get("pairs", [])}
    pairs = dict.fromkeys([*words, *((change["first"], change["second"]) for change in changes)])
    return tuple(
        DomainPair(
            _over(first),
            _over(second),
            words.get((first, second), ""),
            tuple(
                (str(one["before"]), str(one["after"]), int(one["count"]), bool(one["contradiction"]))
                for one in changes
                if (one["first"], one["second"]) == (first, second)
            ),
        )
        for first, second in pairs
    )


def _lead(main: ProblemView) -> str:
    wrong = [row for row in main.rows if row.false_unspeakable or row.false_speakable]
    silent = [row for row in main.rows if row.claims == 0]
    text = f"{plain.plural(len(main.rows), 'backend')} were given up to {plain.plural(main.size, 'token')} each. "
    if not wrong:
        return text + "No claim was false."
    liars = f"{len(wrong)} of them made false claims: {', '.join(row.name for row in wrong)}."
    return text + liars + (f" {len(silent)} made no claim at all." if silent else "")


def _problem(key: str, part: Mapping[str, Any], names: dict[int, str]) -> ProblemView:
    rows = sorted(part["grades"], key=lambda g: (-(g["verified"] / max(1, g["given"])), g["seconds_median"] or 0.0))
    strata = ", ".join(f"{count} {name}" for name, count in part["sample"]["strata"].items())
    views = tuple(_backend(grade, names if key == "model" else {}) for grade in rows)
    return ProblemView(key, _PROBLEMS.get(key, key), int(part["sample"]["size"]), strata, views)


def _backend(grade: Mapping[str, Any], names: dict[int, str]) -> BackendRow:
    return BackendRow(
        name=str(grade["backend"]),
        version=plain.text(grade["version"]),
        given=int(grade["given"]),
        verified=_rate(grade["verified"], grade["given"], grade["verified_rate"]),
        right=_rate(grade["right"], grade["claims"], grade["right_rate"]),
        claims=int(grade["claims"]),
        false_unspeakable=int(grade["false_unspeakable"]),
        false_speakable=int(grade["false_speakable"]),
        limit_hit=int(grade["limit_hit"]),
        failures=", ".join(f"{count} {kind}" for kind, count in grade["failures"].items()) or "0",
        seconds=_seconds(grade["seconds_shifted_geometric_mean"]),
        gap="–" if grade["gap_median"] is None else f"{grade['gap_median']:.2g}",
        sentence=str(grade["sentence"]),
        wrong=tuple((int(token), names.get(int(token), f"#{token}")) for token in grade["wrong_tokens"]),
    )


def _rate(count: int, of: int, rate: Mapping[str, float] | None) -> RateView:
    if rate is None:
        return RateView("–", "", None)
    interval = f"{100 * rate['low']:.0f}–{100 * rate['high']:.0f} %"
    return RateView(f"{count} of {of}", interval, rate["rate"])


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _hidden(one: Mapping[str, Any]) -> HiddenRow:
    best = one["estimates"][0] if one["estimates"] else None
    return HiddenRow(
        method=str(one["method"]),
        budget=f"{one['restarts']} × {one['budget']}",
        found=int(one["found"]),
        estimate="–" if best is None else f"{best['estimate']:,.0f}",
        interval="" if best is None else f"{_end(best['low'])} to {_end(best['high'])}",
        truth=int(one["truth"]),
        holds=None if best is None else bool(best["holds_truth"]),
    )


def _end(value: float | None) -> str:
    return "unbounded" if plain.finite(value) is None else f"{value:,.0f}"


def _limit(one: Mapping[str, Any]) -> LimitRow:
    def said(part: Mapping[str, Any] | None) -> str:
        return "–" if part is None else str(part["statement"])

    return LimitRow(
        backend=str(one["backend"]),
        head=head_words(one),
        budget="its own" if one["iterations"] is None else f"{one['iterations']} iterations",
        tried=f"{one['tried']} of {one['plants']}",
        speakable=said(one["speakable"]),
        unspeakable=said(one["unspeakable"]),
        misclaimed=int(one["misclaimed"]),
    )


def _run_facts(found: Mapping[str, Any]) -> Facts:
    hardware = plain.mapping(found.get("hardware"))
    return (
        ("Model", plain.text(found.get("model"))),
        ("Vocabulary × width", f"{plain.count(found.get('v'))} × {plain.count(found.get('d'))}"),
        ("Domain", plain.text(found.get("domain"))),
        ("Fingerprint of A and c", plain.text(found.get("fingerprint"))),
        ("Started", plain.text(found.get("started"))),
        ("Took", plain.seconds(found.get("seconds"))),
        ("At most, by its options", plain.seconds(found.get("longest"))),
        ("Processor", plain.text(hardware.get("cpu"))),
        ("Cores", plain.count(hardware.get("cores"))),
        ("GPU", "none" if "gpu" in hardware and not hardware["gpu"] else plain.text(hardware.get("gpu"))),
    )


def _plots(found: Mapping[str, Any], main: ProblemView, names: dict[int, str]) -> dict[str, Any]:
    part = found["problems"][main.key]
    apart = part["disagreements"]
    return {
        "backends": apart["backends"],
        "counts": apart["counts"],
        "compared": apart["compared"],
        "tokens": [
            {
                "id": int(one["token_id"]),
                "name": names.get(int(one["token_id"]), f"#{one['token_id']}"),
                "truth": one["truth"],
                "claims": one["claims"],
            }
            for one in apart["tokens"]
        ],
        "profile": part["profile"],
        "hidden": [
            {
                "method": one["method"],
                "found": one["found"],
                "truth": one["truth"],
                "pool": one["pool"],
                "estimate": plain.finite(one["estimates"][0]["estimate"]) if one["estimates"] else None,
                "low": plain.finite(one["estimates"][0]["low"]) if one["estimates"] else None,
                "high": plain.finite(one["estimates"][0]["high"]) if one["estimates"] else None,
            }
            for one in found.get("hidden") or []
        ],
        "detection": [
            {
                "backend": one["backend"],
                "head": head_words(one),
                "iterations": one["iterations"],
                **{
                    kind: None
                    if one[kind] is None
                    else [[cell["level"], cell["rate"], cell["low"], cell["high"]] for cell in one[kind]["recall"]]
                    for kind in ("speakable", "unspeakable")
                },
            }
            for one in found.get("detection") or []
        ],
    }
