"""What a search was asked to do."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from solvers.errors import BadInput

LEVELS = ("free", "norm", "hull", "tokens", "text")
"""From the loosest to the strictest. What meets a level meets every one before it."""
WORDS = {
    "free": "any input embeddings",
    "norm": "embeddings within the norm range of the model's own",
    "hull": "embeddings in the convex hull of the model's own, and within their norm range",
    "tokens": "real tokens",
    "text": "text that survives decoding and encoding",
}
OPTIMISERS = ("auto", "adam", "adamw", "sgd", "lbfgs")
LOSSES = ("margin", "ce")
ENGINES = ("own", "nanogcg")
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class SearchSettings:
    """Settings of one search. All of them are recorded in `search.json`.

    Attributes:
        lengths: numbers of free positions to try.
        levels: levels to search, of `LEVELS`.
        budget: seconds of wall clock for searching, checking, measuring and writing together (`reach.search.budget`);
            loading the model, a scan that has to be made first, and the page are not in it.
        steps: optimisation steps of one attempt at one target.
        restarts: attempts per target, level and length.
        optimiser, loss: how an attempt goes downhill; `auto` takes what did best at each level.
        learning_rate: size of a step relative to the model's own embeddings; none takes the optimiser's own.
        guided: what leads prompts of real tokens by gradients: our own batched search, or the nanoGCG library.
        batch: targets worked on at once, at most; none chooses by memory. A step is kept short in either case.
        prefix, suffix: fixed text around the free positions.
        bos: whether the tokenizer's own start token comes first.
        min_margin: a pass counts as a hit above this margin, logits; none takes what float32 may be off.
        dtype: of the search; the check is always float32.
        strength: share of the budget that measures how strong the search is; 0 leaves that out.
        repeat: whether to ask the model to repeat each token.
        seed: of everything random.
        device: where the search runs.
        jobs: cores used.
    """

    lengths: tuple[int, ...] = (1, 2, 4, 8)
    levels: tuple[str, ...] = LEVELS
    budget: float = 600.0
    steps: int = 100
    restarts: int = 8
    optimiser: str = "auto"
    loss: str = "margin"
    learning_rate: float | None = None
    guided: str = "own"
    batch: int | None = None
    prefix: str = ""
    suffix: str = ""
    bos: bool = True
    min_margin: float | None = None
    dtype: str = "float32"
    strength: float = 0.25
    repeat: bool = True
    seed: int = 0
    device: str = "cpu"
    jobs: int = 1

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) < 1:
            raise BadInput("--length: give numbers of positions from 1 on, separated by commas")
        if not self.levels:
            raise BadInput(f"--levels: give at least one of {', '.join(LEVELS)}")
        for level in self.levels:
            if level not in LEVELS:
                raise BadInput(f"--levels: there is no level {level!r}; there are {', '.join(LEVELS)}")
        for name, value, known in (
            ("--optimizer", self.optimiser, OPTIMISERS),
            ("--loss", self.loss, LOSSES),
            ("--guided", self.guided, ENGINES),
            ("--dtype", self.dtype, DTYPES),
        ):
            if value not in known:
                raise BadInput(f"{name}: {value!r} is unknown; there are {', '.join(known)}")
        if not (math.isfinite(self.budget) and self.budget > 0):
            raise BadInput(f"--budget must be a number of seconds > 0, not {self.budget:g}")
        for name, count in (("--steps", self.steps), ("--restarts", self.restarts), ("--jobs", self.jobs)):
            if count < 1:
                raise BadInput(f"{name} must be at least 1, not {count}")
        if self.batch is not None and self.batch < 1:
            raise BadInput(f"--batch must be at least 1, not {self.batch}")
        if self.learning_rate is not None and not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise BadInput(f"--learning-rate must be a number > 0, not {self.learning_rate:g}")
        if not 0 <= self.strength <= 0.9:
            raise BadInput(f"--strength must lie between 0 and 0.9, not {self.strength:g}")

    def optimiser_at(self, level: str) -> str:
        """The optimiser to use at a level: softmax weights need steps that each get a size of their own."""
        return ("adam" if level == "hull" else "sgd") if self.optimiser == "auto" else self.optimiser

    def record(self) -> dict[str, Any]:
        """As `search.json` keeps it."""
        return asdict(self)

    def lasting(self) -> dict[str, Any]:
        """The settings that a resumed search must share; how fast and how long it runs may change."""
        fleeting = ("budget", "device", "jobs", "batch", "dtype")
        return {name: value for name, value in self.record().items() if name not in fleeting}


def parse_lengths(text: str) -> tuple[int, ...]:
    """Lengths from the words of the command line.

    Raises:
        BadInput: a part is no whole number.
    """
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise BadInput(f"--length {text}: give whole numbers, separated by commas") from None


def parse_levels(text: str | None) -> tuple[str, ...]:
    """Levels from the words of the command line, in their own order."""
    if text is None:
        return LEVELS
    named = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in named if name not in LEVELS]
    return tuple(level for level in LEVELS if level in named) + tuple(unknown)
