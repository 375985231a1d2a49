"""Runs that the `reach` command itself has made of a tiny model: the records that tests of pages are about.

Each is made when it is first asked for, and once. Nobody writes to them: `copied` gives a test its own.
"""

from __future__ import annotations

import shutil
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np
from reach_command import reach, save_head

from reach.compare.detection import Shape

_PLACE = TemporaryDirectory(prefix="reach-pages-")
_QUIET = ("--quiet", "--jobs", 1)


def _folder(name: str) -> Path:
    return Path(_PLACE.name) / name


def run_reach(*arguments: object) -> None:
    """Run a command of `reach` in this process, under its own name: what it records of its call is what it was."""
    words = [str(argument) for argument in arguments]
    with mock.patch.object(sys, "argv", ["reach", *words]):
        outcome = reach(*words)
    assert outcome.code == 0, outcome.err


def copied(run: Path, to: Path) -> Path:
    """A run of a test's own."""
    shutil.copytree(run, to)
    return to


@cache
def tiny_model() -> Path:
    """The model's folder."""
    # Building a model takes an import of some seconds: only who asks for a run waits for it.
    from tiny_model import save_tiny_model

    return save_tiny_model(_folder("tiny"))


@cache
def scanned() -> Path:
    """A scan of every token: some own-direction, hard-to-speak, unspeakable, tied."""
    run_reach("scan", tiny_model(), "--out", _folder("scanned"), "--self-check", *_QUIET)
    return _folder("scanned")


@cache
def scanned_with_margins() -> Path:
    """A scan that bounded every margin from both sides, and every probability."""
    run_reach(
        "scan", tiny_model(), "--out", _folder("margins"), "--margins", 0.01, "--ceilings", 0.05, *_QUIET,
    )  # fmt: skip
    return _folder("margins")


@cache
def scanned_with_silencers() -> Path:
    """The same of a bare head with offsets: token 39 is silenced by all others, token 38 by some."""
    rng = np.random.default_rng(7)
    rows, offsets = rng.standard_normal((40, 6)), 0.1 * rng.standard_normal(40)
    offsets[39] = -60.0
    rows[38], offsets[38] = rows[0] + 0.01, offsets[0] - 1.0
    head = save_head(_folder("silenced.npz"), rows, b=offsets)
    run_reach(
        "scan", "--head", head, "--domain", "ball:2", "--out", _folder("silenced"), "--margins", 0.01, *_QUIET,
    )  # fmt: skip
    return _folder("silenced")


@cache
def scanned_in_part() -> Path:
    """A scan of the first 60 tokens, with a stage that measures margins."""
    run_reach(
        "scan", tiny_model(), "--out", _folder("part"), "--tokens", "0-59", "--margin-gap", 0.01, *_QUIET
    )  # fmt: skip
    return _folder("part")


@cache
def scanned_in_no_time() -> Path:
    """A scan that gave its searches no time: some tokens stay undecided."""
    run_reach("scan", tiny_model(), "--out", _folder("hasty"), "--stage-seconds", 1e-9, *_QUIET)
    return _folder("hasty")


@cache
def scanned_widely() -> Path:
    """A scan of a wide bare head: tokens 597 to 599 lie inside the hull of the others."""
    rows = np.random.default_rng(4).standard_normal((600, 256))
    rows[-3:] *= 0.02
    head = save_head(_folder("wide.npz"), rows)
    run_reach("scan", "--head", head, "--norm", "rmsnorm", "--out", _folder("wide"), *_QUIET)
    return _folder("wide")


@cache
def scanned_at_length() -> Path:
    """A scan of 16,384 tokens whose rows are equally long: each wins along its own."""
    rows = np.random.default_rng(5).standard_normal((16_384, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    head = save_head(_folder("long.npz"), rows)
    run_reach("scan", "--head", head, "--domain", "ball:2", "--out", _folder("long"), *_QUIET)
    return _folder("long")


@cache
def compared() -> Path:
    """A comparison with all its parts. `reflection` gets too few steps to find some tokens."""
    run = copied(scanned(), _folder("compared"))
    small = (Shape(24, 80, 1, False), Shape(24, 80, 1, True))
    with (
        mock.patch("reach.compare.detection.SHAPES", small),
        mock.patch("reach.compare.hidden._SAMPLES", 2000),
    ):
        run_reach(
            "compare-solvers", tiny_model(), "--out", run, "--backends", "batched-barrier,reflection",
            "--iterations", 4, "--sample", 16, "--seconds", 1, "--backend-seconds", 4, *_QUIET,
        )  # fmt: skip
    return run


@cache
def compared_shortly() -> Path:
    """A comparison without the parts that measure strength."""
    run = copied(scanned(), _folder("shortly"))
    run_reach(
        "compare-solvers", tiny_model(), "--out", run, "--backends", "batched-barrier", "--sample", 4,
        "--no-strength", *_QUIET,
    )  # fmt: skip
    return run


@cache
def searched() -> Path:
    """A search at every level, with its strength measured and the repeat test."""
    run = copied(scanned(), _folder("searched"))
    with mock.patch("reach.search.phases.SAMPLED", 512), mock.patch("reach.search.strength.PLANTS", 128):
        run_reach(
            "search", "--run", run, "--length", "1,2", "--steps", 12, "--restarts", 1, "--budget", 10,
            "--strength", 0.8, *_QUIET,
        )  # fmt: skip
    return run


@cache
def searched_shortly() -> Path:
    """A search of a few tokens, of a model without a tokenizer, without the parts that can be left out."""
    model = copied(tiny_model(), _folder("mute"))
    for file in model.glob("tokenizer*"):
        file.unlink()
    run_reach(
        "search", model, "--run", _folder("searched-shortly"), "--tokens", "3-40", "--levels", "free,tokens",
        "--length", 1, "--no-repeat", "--strength", 0, "--budget", 1, "--no-report", *_QUIET,
    )  # fmt: skip
    return _folder("searched-shortly")


@cache
def measured() -> Path:
    """Interference with all its parts, joined with a scan and beside another run."""
    run = copied(scanned(), _folder("measured"))
    run_reach("interference", "--out", run, "--seeds", 2, "--beside", measured_shortly(), *_QUIET)
    return run


@cache
def measured_shortly() -> Path:
    """Interference without a scan and without the parts that can be left out."""
    run_reach(
        "interference", tiny_model(), "--out", _folder("measured-shortly"), "--seeds", 0,
        "--without", "blocks,dictionary", *_QUIET,
    )  # fmt: skip
    return _folder("measured-shortly")


@cache
def measured_widely() -> Path:
    """Interference of a bare head with so many dimensions that the theory of packing says something about it."""
    rows = np.random.default_rng(0).standard_normal((300, 200))
    head = save_head(_folder("wide.npz"), rows)
    run_reach(
        "interference", "--head", head, "--domain", "free", "--out", _folder("measured-widely"), "--seeds", 0,
        "--without", "dictionary", *_QUIET,
    )  # fmt: skip
    return _folder("measured-widely")
