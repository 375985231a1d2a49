"""The search beside a plain loop and beside other engines, on the same targets."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64

from reach.search.budget import BatchSize
from reach.search.guided import nano_guided, search_prompts
from reach.search.ledger import Ledger
from reach.search.levels import freedom
from reach.search.live import LiveModel, choose_threads, load_live_model
from reach.search.optimisers import row_optimiser
from reach.search.options import SearchSettings
from reach.search.prompts import Prompts, RoundTrip, load_tokenizer
from reach.search.soft import optimise
from reach.search.starts import Bank, Starts, Task


def search_ratio(
    folder: Path, device: str, level: str, length: int, steps: int, optimiser: str, targets: int,
    plain_seconds: float, jobs: int,
) -> dict[str, Any]:  # fmt: skip
    """Both sides on the same targets; the plain loop gets as far as its time allows. One attempt per target, and each
    side the number of threads that suits it better."""
    live = LiveModel(load_live_model(str(folder), folder.name), folder.name, device=device)
    chosen = torch.randperm(live.v, generator=torch.Generator().manual_seed(0))[:targets].numpy()
    torch.set_num_threads(jobs)
    peak = product_rate(live.device)
    plain_threads = choose_threads(live, length, 1, jobs)
    started = time.perf_counter()
    plain, plain_steps = plain_loop(
        live, level, length, chosen, steps, optimiser, lambda: time.perf_counter() - started > plain_seconds
    )
    plain_rate = len(plain) / (time.perf_counter() - started)
    threads = choose_threads(live, length, 64, jobs)
    settings = SearchSettings(optimiser=optimiser, steps=steps, restarts=1, min_margin=live.rounding, device=device)
    ledger, seconds = batched(live, level, length, chosen, settings)
    found = ledger.found[level]
    weights = sum(parameter.numel() for parameter in live.parameters())
    inputs = sum(ledger.inputs.values())
    return {
        "case": f"search {folder.name}",
        "device": device,
        "level": level,
        "length": length,
        "optimiser": optimiser,
        "steps": steps,
        "plain_threads": plain_threads,
        "threads": threads,
        "plain_targets": len(plain),
        "plain_hit_rate": float(plain.mean()),
        "plain_targets_per_second": plain_rate,
        "plain_steps_per_second": plain_steps * plain_rate / len(plain),
        "targets": len(chosen),
        "hit_rate_same_targets": float(found[chosen[: len(plain)]].mean()),
        "hit_rate": float(found[chosen].mean()),
        "targets_per_second": len(chosen) / seconds,
        "inputs_per_second": inputs / seconds,
        "ratio": len(chosen) / seconds / plain_rate,
        # Forward and backward of every weight, two operations each, over what one large product reaches here.
        "share_of_peak": 6 * weights * length * inputs / seconds / peak,
    }


def batched(
    live: LiveModel, level: str, length: int, chosen: Int64[np.ndarray, " n"], settings: SearchSettings
) -> tuple[Ledger, float]:
    """The batched search of the same targets: what it found, and in how many seconds."""
    wanted = np.zeros(live.v, dtype=bool)
    wanted[chosen] = True
    started = time.perf_counter()
    # Starting points are part of the work: their passes are on the clock.
    ledger, bank, size = Ledger(live.v, wanted), Bank(), BatchSize(None, settings.device, live.v)
    prompts = Prompts(live, ledger, RoundTrip(None), bank, size, live.rounding)
    prompts.run(prompts.random_ids(512, length, torch.Generator().manual_seed(1)), "random", keep=True)
    starts = Starts(live, ledger, bank, None, 0)
    still = chosen[~ledger.found[level][chosen]]
    optimise(live, ledger, Task(level, length, still, starts, settings), size)
    if live.device.type == "cuda":
        torch.cuda.synchronize()
    return ledger, time.perf_counter() - started


def plain_loop(
    live: LiveModel,
    level: str,
    length: int,
    targets: Int64[np.ndarray, " n"],
    steps: int,
    optimiser: str,
    time_is_up: Callable[[], bool] = lambda: False,
    seed: int = 0,
) -> tuple[Bool[np.ndarray, " m"], int]:
    """Downhill on the margin from the token's own embedding, until the token is on top or the steps are spent.

    The optimiser is the search's own, for one row, so that both sides take the same steps.

    Returns:
        Whether each target that was tried was reached, and the steps taken.
    """
    space = freedom(level, live.rows)
    generator = torch.Generator().manual_seed(seed)
    hits, taken = [], 0
    for token in targets.tolist():
        if time_is_up():
            break
        ids = torch.randint(0, len(live.rows), (1, length), generator=generator).to(live.device)
        ids[0, -1] = min(token, len(live.rows) - 1)
        x = space.from_ids(ids)
        downhill = row_optimiser(optimiser, 1, x[0].numel(), None, space.scale, live.device)
        hit = False
        for _ in range(steps):
            taken += 1
            x = x.detach().requires_grad_()
            passed = live.model_logits(space.embed(x))
            rivals = passed.clone()
            rivals[0, token] = -torch.inf
            loss = rivals.max() - passed[0, token]
            if float(loss.detach()) < -live.rounding:
                hit = True
                break
            (gradient,) = torch.autograd.grad(loss, x)
            flat = x.detach().view(1, -1), gradient.view(1, -1), loss.detach().view(1)
            x = downhill.step(*flat).view(x.shape)
        hits.append(hit)
    return np.array(hits, dtype=bool), taken


def guided_finds(folder: Path, way: str, level: str, length: int, seconds: float, rounds: int) -> dict[str, Any]:
    """One engine from the same known prompts, at the same targets in the same order. One thread."""
    torch.set_num_threads(1)
    trip = RoundTrip(load_tokenizer(str(folder)))
    live = LiveModel(load_live_model(str(folder), folder.name), folder.name, trip.before, trip.after)
    ledger, bank = Ledger(live.v, np.ones(live.v, dtype=bool)), Bank()
    prompts = Prompts(live, ledger, trip, bank, BatchSize(None, "cpu", live.v), live.rounding)
    generator = torch.Generator().manual_seed(0)
    draw = prompts.random_text if level == "text" else prompts.random_ids
    prompts.single_tokens(generator)
    for _ in range(rounds):
        prompts.run(draw(512, length, generator), "random", keep=True, level=level)
    targets = np.random.default_rng(0).permutation(ledger.missing(level))
    settings = SearchSettings(min_margin=live.rounding)
    known, tries = int(ledger.found[level].sum()), int(ledger.tries[level].sum())
    starts, started = Starts(live, ledger, bank, None, 0), time.perf_counter()

    def over() -> bool:
        return time.perf_counter() - started > seconds

    task = Task(level, length, targets, starts, settings, over, generator=generator)
    if way == "random":
        while not over():
            prompts.run(draw(512, length, generator), "random", level=level)
    elif way.startswith("nanogcg"):
        width = int(way.split()[1])
        nano_guided(prompts, task, search_width=width, topk=min(width, 256))
    else:
        chance = way == "own with random"
        search_prompts(prompts, task, chance=chance)
    return {
        "case": f"guided {folder.name}",
        "level": level,
        "length": length,
        "way": way,
        "known": known,
        "new": int(ledger.found[level].sum()) - known,
        "attempts": int(ledger.tries[level].sum()) - tries,
        "inputs_per_second": sum(ledger.inputs.values()) / (time.perf_counter() - started),
    }


def product_rate(device: torch.device) -> float:
    """Operations per second of a large float32 product: the peak that counts here."""
    size = 8192 if device.type == "cuda" else 1024
    left = torch.randn(size, size, device=device)

    def once() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        torch.mm(left, left)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    return 2 * size**3 / min(once() for _ in range(5))
