"""How the demo model is trained: its settings, its optimisers, its losses, and which steps are kept."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from demo_text import TokenIds
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import GPT2Config, GPT2LMHeadModel

IGNORE_INDEX = -100
MOMENTUM = 0.9
"""Of SGD."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides the trained model, apart from the text and the package versions."""

    seed: int = 0
    optimizer: str = "adamw"
    vocab_size: int = 4000
    hidden: int = 32
    layers: int = 3
    heads: int = 4
    context: int = 128
    steps: int = 5000
    batch: int = 16
    learning_rate: float = 4e-3  # at its peak
    final_learning_rate: float = 1e-4
    warmup: int = 100
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    grad_clip: float = 1.0
    validation_every: int = 20
    max_file_bytes: int = 300_000
    evaluations: int = 8
    threads: int = 1


def build_model(settings: Settings) -> GPT2LMHeadModel:
    """A GPT-2 of the given size; its output rows are its input embedding, as GPT-2 ties them."""
    config = GPT2Config(
        vocab_size=settings.vocab_size,
        n_positions=settings.context,
        n_embd=settings.hidden,
        n_layer=settings.layers,
        n_head=settings.heads,
        # So small a model underfits a text seen a few times: dropout would only cost quality.
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config)


@dataclass(frozen=True)
class Recipe:
    """What an optimiser is given where nothing else is asked for."""

    learning_rate: float
    weight_decay: float


OPTIMIZERS = {
    "sgd": Recipe(1.0, 0.0),
    "adam": Recipe(4e-3, 0.0),
    "adamw": Recipe(4e-3, 0.1),
}
"""SGD has momentum. Adam's steps are AdamW's without decay, so these two differ in nothing but the decay."""


def settings_for(
    optimizer: str, seed: int, *, learning_rate: float | None, weight_decay: float | None, **others: int
) -> Settings:
    """The settings of one run; a rate or a decay that is not given is that of the optimiser's recipe."""
    recipe = OPTIMIZERS[optimizer]
    rate = recipe.learning_rate if learning_rate is None else learning_rate
    decay = recipe.weight_decay if weight_decay is None else weight_decay
    return Settings(
        seed=seed,
        optimizer=optimizer,
        learning_rate=rate,
        final_learning_rate=rate / 40,
        weight_decay=decay,
        **others,
    )


def make_optimizer(model: GPT2LMHeadModel, settings: Settings) -> torch.optim.Optimizer:
    """The optimiser, with decay on matrices and none on biases and norm gains, the usual recipe.

    The tied embedding is a matrix, so it decays. Rows that no text ever contains do not end up at the origin, though:
    their small gradients all point away from every hidden state, and Adam rescales them to full steps.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=MOMENTUM)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(settings.beta1, settings.beta2))


def steps_kept(steps: int, count: int) -> list[int]:
    """`count` steps from 0, the model as it was initialised, to the last; close together early, where most changes.

    The k-th is steps · (k / (count − 1))³, rounded.
    """
    return sorted({round(steps * (k / (count - 1)) ** 3) for k in range(count)}) if count > 1 else [steps]


def learning_rate_at(step: int, settings: Settings) -> float:
    """Linear warm-up, then a cosine down to the final rate."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    progress = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    span = settings.learning_rate - settings.final_learning_rate
    return settings.final_learning_rate + span * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def token_losses(model: GPT2LMHeadModel, windows: torch.Tensor) -> torch.Tensor:
    """Cross-entropy summed over the targets of windows, each one token longer than the model's input."""
    targets = windows[:, 1:]
    # Padding stands behind every real token, where causal attention hides it, so any valid id will do for it.
    inputs = windows[:, :-1].clamp(min=0)
    logits = model(input_ids=inputs).logits
    return cross_entropy(
        logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), ignore_index=IGNORE_INDEX, reduction="sum"
    )


def evaluate(model: GPT2LMHeadModel, stream: TokenIds, settings: Settings) -> float:
    """Mean loss in nats over every token of the stream but the first, in windows that do not overlap."""
    size = settings.context
    count = math.ceil((len(stream) - 1) / size)
    padded = np.full(count * size + 1, IGNORE_INDEX, dtype=np.int64)
    padded[: len(stream)] = stream
    # Neighbouring windows share one token: the last target of one is the first input of the next.
    windows = torch.from_numpy(padded).unfold(0, size + 1, size)
    model.eval()
    total = 0.0
    with torch.no_grad():
        for block in windows.split(settings.batch):
            total += float(token_losses(model, block))
    model.train()
    return total / (len(stream) - 1)


def unigram_loss(train: TokenIds, validation: TokenIds, vocab_size: int) -> float:
    """Mean loss on the same targets of a model that knows token frequencies alone (add-one smoothed)."""
    counts = np.bincount(train, minlength=vocab_size).astype(np.float64) + 1.0
    log_probability = np.log(counts / counts.sum())
    return float(-log_probability[validation[1:]].mean())


def train_model(
    model: GPT2LMHeadModel,
    train: TokenIds,
    validation: TokenIds,
    settings: Settings,
    keep: Callable[[int], None] = lambda _: None,
) -> list[dict[str, float]]:
    """Train in place and return the losses over time; `keep` is told after how many steps the model is as it is."""
    optimizer = make_optimizer(model, settings)
    # A generator of its own: changing the model's initialisation must not change which windows it sees.
    picker = torch.Generator().manual_seed(settings.seed)
    stream = torch.from_numpy(train)
    offsets = torch.arange(settings.context + 1)
    interval = max(1, settings.steps // settings.evaluations)
    history: list[dict[str, float]] = []
    recent: list[float] = []
    keep(0)
    model.train()
    progress = tqdm(
        range(settings.steps),
        desc=f"training {settings.optimizer} {settings.seed}",
        unit="step",
        file=sys.stderr,
        mininterval=1.0,
    )
    for step in progress:
        rate = learning_rate_at(step, settings)
        for group in optimizer.param_groups:
            group["lr"] = rate
        starts = torch.randint(len(train) - settings.context, (settings.batch,), generator=picker)
        windows = stream[starts[:, None] + offsets]
        loss = token_losses(model, windows) / (settings.batch * settings.context)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.grad_clip)
        optimizer.step()
        recent.append(loss.item())
        keep(step + 1)
        if (step + 1) % interval == 0 or step + 1 == settings.steps:
            entry = {
                "step": step + 1,
                "train_loss": round(float(np.mean(recent)), 4),
                "validation_loss": round(evaluate(model, validation, settings), 4),
            }
            history.append(entry)
            recent.clear()
            progress.set_postfix(train=entry["train_loss"], validation=entry["validation_loss"])
    model.eval()
    return history
