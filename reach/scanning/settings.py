"""What a scan was asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from reach.options import Device, Jobs, Option, Options
from solvers.checks.served_head import BIASES, NORMS, TIES
from solvers.formats import FORMATS

MARGIN_GAP_UNUSED = (
    "--margins has no effect here: margins on the whole space (--domain free) may have no bound where there are "
    "offsets, so only verdicts are found; for margins choose another --domain, such as ball:R"
)
"""What to say where `ArgmaxProblem.margin_bounded` is false."""


@dataclass(frozen=True)
class ScanSettings(Options):
    """Settings of one scan. All of them are recorded in the run's manifest."""

    exact: Annotated[
        bool, Option("--exact", "Raise every verdict to exact evidence where it can be.", shapes=True)
    ] = False
    margin_gap: Annotated[
        float | None,
        Option(
            "--margins --margin-gap",
            "Bound every margin from both sides to this relative gap, such as 0.01.",
            within=(0, 1),
            ends=False,
            shapes=True,
        ),
    ] = None
    ceilings: Annotated[
        float | None,
        Option(
            "--ceilings",
            "Also bound the largest probability that softmax can give each token, to this gap in ln p, such as 0.01.",
            within=(0, 1),
            ends=False,
            shapes=True,
        ),
    ] = None
    arithmetic: Annotated[
        tuple[str, ...],
        Option(
            "--arithmetic",
            "Also say what a server returns that computes in these formats: float32,bfloat16,float16.",
            choices=tuple(form.name for form in FORMATS),
            noun="format",
            shapes=True,
        ),
    ] = ()
    ties: Annotated[
        str,
        Option(
            "--ties",
            "Of --arithmetic: which of several largest logits is returned, the first or the last by id.",
            choices=TIES,
            shapes=True,
        ),
    ] = "first"
    bias_added: Annotated[
        str,
        Option(
            "--bias-added",
            "Of --arithmetic: before the sum is rounded to the format, or after.",
            choices=BIASES,
            shapes=True,
        ),
    ] = "before"
    norm_rounded: Annotated[
        str | None,
        Option(
            "--norm-rounded",
            "Of --arithmetic: what the norm puts out is rounded once, or in steps. Default: a LayerNorm's once, an "
            "RMSNorm's in steps.",
            choices=NORMS,
            shapes=True,
        ),
    ] = None
    tolerance: Annotated[
        float,
        Option(
            "--tolerance",
            "Gap, relative to a row's scale, at which a search may stop.",
            within=(0, 0.01),
            ends=False,
            shapes=True,
        ),
    ] = 1e-9
    stage_seconds: Annotated[
        float | None, Option("--stage-seconds", "Limit for one search stage on one block.", above=0, shapes=True)
    ] = None
    block_tokens: Annotated[
        int, Option("--block-tokens", "Tokens per journalled block: what a killed scan can lose at most.", least=1)
    ] = 4096
    jobs: Jobs = 1
    device: Device = "cpu"

    def record(self) -> dict[str, Any]:
        """As the manifest keeps it."""
        return {**super().record(), "arithmetic": list(self.arithmetic)}
