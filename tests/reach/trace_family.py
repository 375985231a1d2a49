"""A tiny family of models by the project's own training script, each checkpoint scanned by the `reach` command."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from reach_command import ROOT, reach

_PLACE = TemporaryDirectory(prefix="reach-family-")
OPTIMIZERS, SEEDS, CHECKPOINTS = ("sgd", "adamw"), (0, 1), 4
STEPS, VOCABULARY = 20, 320


def at(name: str) -> Path:
    """A folder beside the models and runs."""
    return Path(_PLACE.name) / name


@cache
def models() -> Path:
    """OPTIMIZER-seed-SEED/checkpoint-STEP, trained for a few steps on the smallest files of the standard library."""
    sys.path.append(str(ROOT / "scripts"))
    from demo_training import settings_for, steps_kept
    from train_demo_model import material, train_member

    shape = {
        "vocab_size": VOCABULARY, "hidden": 16, "layers": 1, "heads": 2, "context": 64, "batch": 2, "steps": STEPS,
        "evaluations": 1, "max_file_bytes": 1500, "warmup": 2,
    }  # fmt: skip
    members = [
        settings_for(optimizer, seed, learning_rate=None, weight_decay=None, **shape)
        for optimizer in OPTIMIZERS
        for seed in SEEDS
    ]
    threads = torch.get_num_threads()
    try:
        given = material(members[0])
        for one in members:
            folder = at("models") / f"{one.optimizer}-seed-{one.seed}"
            train_member(folder, one, given, steps_kept(STEPS, CHECKPOINTS))
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)
    return at("models")


@cache
def runs() -> Path:
    """The same tree of run folders."""
    for model in sorted(models().glob("*/checkpoint-*")):
        outcome = reach(
            "scan", model, "--out", at("runs") / model.parent.name / model.name, "--no-report",
            "--quiet", "--jobs", 1,
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
    return at("runs")


@cache
def traced() -> Path:
    """The trace of all of them."""
    outcome = reach("trace", runs(), "--out", at("trace"), "--resamples", 200, "--shuffles", 40, "--quiet")
    assert outcome.code == 0, outcome.err
    return at("trace")
