"""What a search was asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from reach.options import Device, Jobs, Option, Options, Seed

LEVELS = ("free", "norm", "hull", "tokens", "text")
"""From the loosest to the strictest. What meets a level meets every one before it."""
WORDS = {
    "free": "some input embeddings",
    "norm": "some embeddings within the norm range of the model's own",
    "hull": "some embeddings in the convex hull of the model's own, and within their norm range",
    "tokens": "some real tokens",
    "text": "some text that survives decoding and encoding",
}
OPTIMISERS = ("auto", "adam", "adamw", "sgd", "lbfgs")
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class SearchSettings(Options):
    """Settings of one search. All of them are recorded in `search.json`.

    Loading the model, a scan that has to be made first, and the page are not in the budget (`reach.search.budget`).
    `min_margin` is the margin, in logits, above which a pass counts as a hit; none takes what float32 may be off.
    """

    lengths: Annotated[
        tuple[int, ...],
        Option("--length", "Free positions to try, separated by commas.", least=1, noun="a number of positions"),
    ] = (1, 2, 4, 8)
    levels: Annotated[
        tuple[str, ...], Option("--levels", "What may be free, separated by commas.", choices=LEVELS, noun="level")
    ] = LEVELS
    budget: Annotated[
        float, Option("--budget", "Seconds for searching, checking, measuring and writing together.", above=0)
    ] = 600.0
    steps: Annotated[int, Option("--steps", "Of one attempt at one target.", least=1)] = 100
    restarts: Annotated[int, Option("--restarts", "Attempts per target, level and length.", least=1)] = 8
    optimiser: Annotated[
        str, Option("--optimizer", "auto takes what did best at each level.", choices=OPTIMISERS)
    ] = "auto"
    loss: Annotated[str, Option("--loss", "How an attempt goes downhill.", choices=("margin", "ce"))] = "margin"
    learning_rate: Annotated[
        float | None,
        Option("--learning-rate", "Relative to the model's own embeddings. Default: the optimiser's.", above=0),
    ] = None
    guided: Annotated[
        str,
        Option("--guided", "What leads real prompts by gradients: own or nanogcg.", choices=("own", "nanogcg")),
    ] = "own"
    batch: Annotated[int | None, Option("--batch", "Targets at once, at most. Default: by memory.", least=1)] = None
    prefix: Annotated[str, Option("--prefix", "Fixed text before the free positions.")] = ""
    suffix: Annotated[str, Option("--suffix", "Fixed text after them.")] = ""
    bos: Annotated[bool, Option("--bos/--no-bos", "Begin with the tokenizer's own start token.")] = True
    min_margin: float | None = None
    dtype: Annotated[str, Option("--dtype", "Of the search; the check is always float32.", choices=DTYPES)] = (
        "float32"
    )
    strength: Annotated[
        float,
        Option("--strength", "Share of the budget that measures the search itself; 0 for none.", within=(0, 0.9)),
    ] = 0.25
    repeat: Annotated[bool, Option("--repeat/--no-repeat", "Ask the model to repeat each token.")] = True
    seed: Seed = 0
    device: Device = "cpu"
    jobs: Jobs = 1

    def optimiser_at(self, level: str) -> str:
        """The optimiser to use at a level: softmax weights need steps that each get a size of their own."""
        return ("adam" if level == "hull" else "sgd") if self.optimiser == "auto" else self.optimiser

    def lasting(self) -> dict[str, Any]:
        """The settings that a resumed search must share; how fast and how long it runs may change."""
        fleeting = ("budget", "device", "jobs", "batch", "dtype")
        return {name: value for name, value in self.record().items() if name not in fleeting}
