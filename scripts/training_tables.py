"""Small tables of a trace, for docs/training: checkpoints, series against series, variance, factors, named tokens.

    python scripts/training_tables.py TRACE --out docs/training --log family/adamw-seed-0/training_log.json

With the record of a training, `frequency.csv` says how the margins go with how often tokens occur in the text, and
how many of the unspeakable ones never do, beside chance.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from demo_training import Settings
from scipy.stats import hypergeom
from train_demo_model import material

from reach.runs.manifest import Span
from reach.trace.association import rank_correlation
from reach.trace.record import TraceResult


def steps(found: TraceResult) -> Iterable[Sequence[Any]]:
    yield (
        "series", "step", "unspeakable", "tied", "undecided", "hard_to_speak", "became_speakable", "stopped",
        "margin_quarter", "margin_median", "margin_three_quarters", "correlation_with_last",
    )  # fmt: skip
    for one in found.record.series:
        before = {part.by: part for part in one.intervals}
        for step in one.steps:
            part = before.get(step.step)
            counts = [step.classes[key] for key in ("unspeakable", "tied", "undecided", "hard-to-speak")]
            margins = (step.low_margin, step.median_margin, step.high_margin, step.with_last)
            turned = ("", "") if part is None else (part.became, part.stopped)
            yield one.name, step.step, *counts, *turned, *map(number, margins)


def pairs(found: TraceResult) -> Iterable[Sequence[Any]]:
    yield (
        "one", "other", "differ", "step", "tokens", "rho", "low", "high", "shuffled_low", "shuffled_high",
        "initial_rho",
        "unspeakable_one", "unspeakable_other", "both", "by_chance", "p", "kappa", "kappa_low", "kappa_high",
    )  # fmt: skip
    for pair in found.record.pairs:
        rho, sets = pair.rho, pair.unspeakable
        yield (
            pair.one, pair.other, " ".join(pair.differ), pair.step, pair.matched,
            *spread(None if rho is None else rho.rho), number(rho and rho.shuffled_low),
            number(rho and rho.shuffled_high), number(pair.initial and pair.initial.rho.value),
            *(5 * ("",) if sets is None
              else (sets.one, sets.other, sets.both, number(sets.expected), number(sets.p))),
            *spread(sets and sets.kappa),
        )  # fmt: skip


def variance(found: TraceResult) -> Iterable[Sequence[Any]]:
    parts = [f"{part}{end}" for part in ("token", "seed", "rest") for end in ("", "_low", "_high")]
    yield "group", "of", "step", "seeds", "tokens", *parts, "token_shuffled"
    for group in found.record.groups:
        name = " ".join(group.factors.values())
        for what, split in (("margins", group.split), ("ranks", group.ranked), ("initialised", group.initial)):
            if split is not None:
                shares = [value for part in (split.token, split.seed, split.rest) for value in spread(part)]
                step = 0 if what == "initialised" else group.step
                yield name, what, step, split.seeds, split.tokens, *shares, number(split.shuffled_token)


def factors(found: TraceResult) -> Iterable[Sequence[Any]]:
    yield (
        "factor", "level", "step", "series", "unspeakable", "median_margin", "pairs", "difference", "low", "high",
        "margin_difference", "margin_low", "margin_high",
    )  # fmt: skip
    for factor in found.record.factors:
        for one in factor.levels:
            margins = " ".join(str(number(margin)) for margin in one.median_margin)
            counts = " ".join(map(str, one.unspeakable))
            yield (
                factor.name, one.level, factor.step, " ".join(one.series), counts, margins, one.pairs,
                *spread(one.against), *spread(one.margin_against),
            )  # fmt: skip


def named(found: TraceResult) -> Iterable[Sequence[Any]]:
    yield "kind", "series", "token", "value"
    for one in found.record.series:
        lists = {
            "sudden": [] if one.sudden is None else one.sudden.named,
            "outlier": one.outliers,
            "back-and-forth": one.oscillators,
        }
        for kind, tokens in lists.items():
            for token in tokens[:10]:
                shown = token.token if token.token.isprintable() else json.dumps(token.token)
                yield kind, one.name, shown, number(token.value)


def frequency(found: TraceResult, counts: npt.NDArray[np.int64]) -> Iterable[Sequence[Any]]:
    """Margins against how often tokens occur; how many of the unspeakable ones never do, and the chance of that."""
    yield (
        "series", "step", "tokens", "rho", "low", "high", "shuffled_low", "shuffled_high", "never_seen",
        "unspeakable", "unspeakable_never_seen", "by_chance", "p",
    )  # fmt: skip
    settings = found.record.settings
    for one in found.record.series:
        rows = [row for row in found.table.to_pylist() if row["series"] == one.name]
        often = counts[[row["token_id"] for row in rows]]
        for at, step in enumerate(one.steps):
            margin = np.array([np.nan if row["margin"][at] is None else row["margin"][at] for row in rows])
            rho = rank_correlation(
                often.astype(np.float64), margin, draws=settings.resamples, shuffles=settings.shuffles,
                seed=settings.seed,
            )  # fmt: skip
            never = np.array([row["verdict"][at] == "unspeakable" for row in rows])
            both, unseen, size = int((never & (often == 0)).sum()), int((often == 0).sum()), int(never.sum())
            yield (
                one.name, step.step, len(rows), *spread(None if rho is None else rho.rho),
                number(rho and rho.shuffled_low), number(rho and rho.shuffled_high), unseen, size, both,
                number(size * unseen / len(rows)), number(float(hypergeom.sf(both - 1, len(rows), unseen, size))),
            )  # fmt: skip


def counts_of(log: Path) -> npt.NDArray[np.int64]:
    """How often each token occurs in the text that a model was trained on, read and encoded again.

    Raises:
        typer.BadParameter: this Python brings another text than the one that the record is about.
    """
    record = json.loads(log.read_text(encoding="utf-8"))
    given = material(Settings(**record["settings"]))
    found = np.bincount(given.train, minlength=record["settings"]["vocab_size"])
    if len(given.train) != record["text"]["train"]["tokens"]:
        raise typer.BadParameter(
            f"{log} is about another text than that of this Python: run it with the same version."
        )
    return found


def number(value: float | None) -> str:
    """Four digits."""
    return "" if value is None else f"{value:.4g}"


def spread(value: Span | None) -> tuple[str, str, str]:
    """A number and the ends of its interval."""
    return ("", "", "") if value is None else (number(value.value), number(value.low), number(value.high))


def main(
    trace: Annotated[Path, typer.Argument(help="Folder that reach trace wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the tables.")] = Path("docs/training"),
    log: Annotated[Path | None, typer.Option(help="training_log.json of one of the models.")] = None,
) -> None:
    """Write the tables."""
    found = TraceResult.read(trace)
    tables = {
        "steps": steps(found), "pairs": pairs(found), "variance": variance(found), "factors": factors(found),
        "named": named(found),
    }  # fmt: skip
    if log is not None:
        tables["frequency"] = frequency(found, counts_of(log))
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        with (out / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    typer.run(main)
