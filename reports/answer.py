"""The answer of a scan: its counts, and the sentences that say what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec.structs import asdict

from reach.runs.manifest import Totals
from reach.verdicts import Verdicts
from reports.domain import DomainView
from reports.plain import plural

EVIDENCE_WORDS = {
    "float64": "in float64",
    "rigorous": "with the rounding error bounded",
    "exact": "in rational arithmetic wherever rounding could matter",
}
"""How proofs were checked: goes on after "was checked"."""


@dataclass(frozen=True)
class Counts:
    """Tokens by verdict, by evidence and by category, counted in the table itself."""

    total: int
    asked: int
    verdicts: dict[str, int]
    evidence: dict[str, int]
    own_direction: int
    hard_to_speak: int
    nearly_never: dict[str, int] | None = None  # by number format, and `open`; None where the run does not know
    margins: bool = False  # whether the scan was asked to bound every margin


@dataclass(frozen=True)
class Tile:
    """One figure of the row of figures; `filter` names the filter box that it ticks."""

    value: str
    label: str
    note: str
    kind: str
    filter: str


@dataclass(frozen=True)
class Answer:
    """What a reader sees first."""

    lead: str  # the short claim
    rest: str  # goes on with the same sentence
    domain: str
    evidence: str
    notes: tuple[str, ...]
    tiles: tuple[Tile, ...]


def count_tokens(tokens: Verdicts) -> Counts:
    """Count the verdicts of a table."""
    totals = tokens.totals
    nearly = None if totals.nearly_never is None else asdict(totals.nearly_never)
    classes = totals.own_direction, totals.hard_to_speak
    margins = tokens.manifest.settings.get("margin_gap") is not None
    return Counts(len(tokens), totals.tokens, totals.verdicts, totals.evidence, *classes, nearly, margins)


def answer(counts: Counts, model: str, domain: DomainView) -> Answer:
    """Say the result of a scan in words."""
    return Answer(
        lead=_lead(counts),
        rest=_rest(counts, model, domain),
        domain=f"Every verdict ranges over {domain.words}. {domain.why}".strip(),
        evidence=_evidence(counts),
        notes=_notes(counts),
        tiles=_tiles(counts),
    )


def disagreements(counts: Counts, totals: Totals | None) -> list[str]:
    """Where the manifest's totals and the table differ. The page shows the table's counts."""
    if totals is None:
        return []
    found: dict[str, Any] = {"own_direction": counts.own_direction, "hard_to_speak": counts.hard_to_speak}
    said: dict[str, Any] = {name: getattr(totals, name) for name in found}
    nearly = {} if totals.nearly_never is None else asdict(totals.nearly_never)
    for group, table, recorded in (
        ("verdicts", counts.verdicts, totals.verdicts),
        ("evidence", counts.evidence, totals.evidence),
        ("nearly_never", counts.nearly_never or {}, nearly),
    ):
        found |= {f"{group}.{name}": value for name, value in table.items()}
        said |= {f"{group}.{name}": value for name, value in recorded.items()}
    return [
        f"The manifest's total {name} is {said[name]}, but the table holds {value}; this page counts the table."
        for name, value in found.items()
        if said.get(name) is not None and said[name] != value
    ]


def _lead(counts: Counts) -> str:
    unspeakable = counts.verdicts["unspeakable"]
    if counts.asked == 0:
        return f"None of the {plural(counts.total, 'token')} was asked for."
    of = f"of {plural(counts.asked, 'token')}"
    if counts.asked < counts.total:
        of += " asked for"
    if unspeakable == 0:
        if counts.verdicts["undecided"]:
            return f"Not one {of} was proved unspeakable."
        return f"Not one {of} is unspeakable."
    return f"{unspeakable:,} {of} {'is' if unspeakable == 1 else 'are'} unspeakable."


def _rest(counts: Counts, model: str, domain: DomainView) -> str:
    verdicts = counts.verdicts
    parts = []
    if verdicts["unspeakable"]:
        them = "it" if verdicts["unspeakable"] == 1 else "one of them"
        # A smaller domain than the head's own proves less, and the sentence must not claim more.
        when = "Whatever comes before its head" if domain.whole else "Within the domain"
        parts.append(f"{when}, {model} can never make {them} its single top choice.")
    if verdicts["speakable"]:
        # Without a token that cannot, there is no sentence before this one to say what.
        what = "can be" if verdicts["unspeakable"] else f"can be {model}'s single top choice"
        speakable = f"{plural(verdicts['speakable'], 'token')} {what}"
        if counts.hard_to_speak:
            speakable += (
                f": {counts.own_direction:,} along their own row of weights (own-direction), "
                f"{counts.hard_to_speak:,} only at other points of the domain, as far as was proved (hard-to-speak)"
            )
        parts.append(speakable + ".")
        parts += _nearly_never(counts)
    if verdicts["tied"]:
        share = "shares its row" if verdicts["tied"] == 1 else "each share their row"
        parts.append(f"{verdicts['tied']:,} {share} and offset with another token and can only tie for the top.")
    undecided = verdicts["undecided"]
    if undecided:
        parts.append(f"{undecided:,} {'stays' if undecided == 1 else 'stay'} undecided.")
    elif counts.asked:
        parts.append("None is undecided.")
    return " ".join(parts)


def _nearly_never(counts: Counts) -> list[str]:
    """The sentence on tokens that win by less than machines resolve; none where there are none."""
    found = counts.nearly_never
    if not found or not found["bfloat16"]:
        return []
    win = "of the speakable ones wins" if found["bfloat16"] == 1 else "of the speakable ones win"
    finer = f", {found['float32']:,} of them even less than one of float32" if found["float32"] else ""
    return [f"{found['bfloat16']:,} {win} by less than a step of bfloat16{finer} (nearly never)."]


def _evidence(counts: Counts) -> str:
    proved = sum(counts.evidence.values())
    if not proved:
        return ""
    used = [(name, value) for name, value in reversed(counts.evidence.items()) if value]
    if len(used) == 1:
        return f"Every one of the {plural(proved, 'proof')} was checked {EVIDENCE_WORDS[used[0][0]]}."
    words = "; ".join(f"{value:,} {EVIDENCE_WORDS[name]}" for name, value in used)
    return f"Each of the {plural(proved, 'proof')} was checked: {words}."


def _notes(counts: Counts) -> tuple[str, ...]:
    notes = []
    if counts.asked < counts.total:
        notes.append(
            f"This scan was asked about {counts.asked:,} of the {counts.total:,} tokens. The other "
            f"{counts.total - counts.asked:,} are in the table without a verdict: nothing is known about them here."
        )
    if counts.verdicts["undecided"]:
        notes.append(
            "Undecided means that neither a proof of “it can be said” nor a proof of “it never can” was found within "
            "the limits of this scan. It is no statement about the token: more effort may settle it either way. Each "
            "undecided token gives its reason."
        )
    nearly = counts.nearly_never
    if nearly and nearly["bfloat16"]:
        notes.append(
            "Nearly never means: the verdict is true of real numbers, but the lead that it rests on is smaller than "
            "the distance between neighbouring numbers of that format at the token's logit. A head evaluated in it "
            "may show a tie there, or another winner."
        )
    if nearly and nearly["open"]:
        step = "such a step" if nearly["bfloat16"] else "a step of bfloat16 or float32"
        them = "It is" if nearly["open"] == 1 else "They are"
        closer = "" if counts.margins else "; --margins brings the bounds closer"
        notes.append(
            f"Of {plural(nearly['open'], 'speakable token')} the bounds on the margin leave open whether it is below "
            f"{step}. {them} not counted as nearly never{closer}."
        )
    return tuple(notes)


def _tiles(counts: Counts) -> tuple[Tile, ...]:
    verdicts = counts.verdicts
    tiles = [
        Tile(f"{verdicts['unspeakable']:,}", "unspeakable", "proved never", "unspeakable", "verdict-unspeakable"),
        Tile(f"{counts.hard_to_speak:,}", "hard-to-speak", "not along their own row", "hard", "category-hard"),
        Tile(f"{counts.own_direction:,}", "own-direction", "said along their own row", "speakable", "category-own"),
        Tile(f"{verdicts['tied']:,}", "tied", "never alone on top", "tied", "verdict-tied"),
        Tile(f"{verdicts['undecided']:,}", "undecided", "neither proved", "undecided", "verdict-undecided"),
    ]
    nearly = counts.nearly_never
    if nearly is not None:
        note = f"lead below a bfloat16 step; {nearly['float32']:,} below a float32 one"
        tiles.insert(3, Tile(f"{nearly['bfloat16']:,}", "nearly never", note, "hard", "nearly-bfloat16"))
    if counts.asked < counts.total:
        rest = counts.total - counts.asked
        tiles.append(Tile(f"{rest:,}", "not asked for", "no verdict", "none", "verdict-none"))
    return tuple(tiles)
