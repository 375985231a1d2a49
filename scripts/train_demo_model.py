"""Train the small demo language model that ships with the project.

The text is what every Python installation brings along: the standard library's own sources and docstrings.
The tokenizer is trained on nearly all of it; the language model sees only the library packages, not the
tests, the codec tables or the IDE. That mismatch is how glitch tokens arise in large models too: a tokenizer
learns a word from text that the model is then never trained on. Nothing is edited by hand, neither weights
nor vocabulary.

    python scripts/train_demo_model.py --out reach/demo_model --force

The result is a plain GPT-2 folder, which ``AutoModelForCausalLM`` and ``AutoTokenizer`` load, with a
``training_log.json`` beside the weights.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import platform
import sys
import sysconfig
import tempfile
import textwrap
import time
import tokenize
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import safetensors
import tokenizers
import torch
import transformers
import typer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

log = logging.getLogger("train_demo_model")

END_OF_TEXT = "<|endoftext|>"
IGNORE_INDEX = -100

# Not part of the standard library, or specific to one machine's build.
SKIPPED_FOLDERS = frozenset({"site-packages", "dist-packages", "__pycache__"})
SKIPPED_PREFIXES = ("_sysconfigdata", "config-")
# Folders whose files only the tokenizer sees.
TOKENIZER_ONLY_FOLDERS = frozenset(
    {
        "test",
        "tests",
        "idle_test",
        "idlelib",
        "lib2to3",
        "encodings",
        "turtledemo",
        "pydoc_data",
        "tkinter",
        "distutils",
    }
)

TokenIds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Settings:
    """Everything that decides the trained model, apart from the text and the package versions."""

    seed: int = 0
    vocab_size: int = 4000
    hidden: int = 32
    layers: int = 3
    heads: int = 4
    context: int = 128
    steps: int = 5000
    batch: int = 16
    learning_rate: float = 4e-3
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


@dataclass(frozen=True)
class SourceFile:
    """One decoded source file, named by its path inside the standard library."""

    path: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """Three sets of files: the tokenizer's text holds both others."""

    tokenizer: list[SourceFile]
    train: list[SourceFile]
    validation: list[SourceFile]


# --- text ---------------------------------------------------------------------------------------------------


def stdlib_files(root: Path, max_file_bytes: int) -> list[SourceFile]:
    """Read the standard library's sources in path order, which no file system's listing order can change.

    Files above ``max_file_bytes`` are generated tables for the most part, and files that do not decode are
    test inputs that are broken on purpose: both are left out.
    """
    by_name = {path.relative_to(root).as_posix(): path for path in root.rglob("*.py")}
    files = []
    for name in sorted(by_name):
        parts = name.split("/")
        if SKIPPED_FOLDERS.intersection(parts) or any(part.startswith(SKIPPED_PREFIXES) for part in parts):
            continue
        if by_name[name].stat().st_size > max_file_bytes:
            continue
        try:
            with tokenize.open(by_name[name]) as handle:
                text = handle.read()
        except (SyntaxError, UnicodeDecodeError):
            continue
        if text.strip():
            files.append(SourceFile(name, text))
    return files


def split_corpus(files: list[SourceFile], validation_every: int) -> Corpus:
    """Give the library packages to the language model, less one file in about ``validation_every``, held out.

    The hold-out goes by a hash of the path, so that adding or losing a file moves no other file across.
    """
    train: list[SourceFile] = []
    validation: list[SourceFile] = []
    for file in files:
        if TOKENIZER_ONLY_FOLDERS.intersection(file.path.split("/")[:-1]):
            continue
        bucket = int.from_bytes(hashlib.sha256(file.path.encode()).digest()[:8], "big") % validation_every
        (validation if bucket == 0 else train).append(file)
    if not train or not validation:
        raise ValueError("The standard library found here has too few files to hold any of them out.")
    return Corpus(files, train, validation)


def describe_files(files: list[SourceFile]) -> dict[str, Any]:
    """Size and fingerprint of a set of files, to tell whether two runs saw the same text."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.path}\0{file.text}\0".encode("utf-8", "surrogatepass"))
    return {"files": len(files), "characters": sum(len(f.text) for f in files), "sha256": digest.hexdigest()}


# --- tokenizer ----------------------------------------------------------------------------------------------


def train_tokenizer(files: list[SourceFile], settings: Settings) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer, GPT-2's kind."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size,
        special_tokens=[END_OF_TEXT],
        # All 256 bytes, sorted because the library returns them as an unordered set.
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((file.text for file in files), trainer)
    if tokenizer.get_vocab_size() != settings.vocab_size:
        raise ValueError(
            f"The text gave {tokenizer.get_vocab_size()} tokens where {settings.vocab_size} were asked for."
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        model_max_length=settings.context,
        clean_up_tokenization_spaces=False,
    )


def encode(tokenizer: PreTrainedTokenizerFast, files: list[SourceFile]) -> TokenIds:
    """Encode files into one stream, each of them opened by the end-of-text token, as GPT-2 does."""
    backend = tokenizer.backend_tokenizer
    separator = int(tokenizer.eos_token_id)
    stream: list[int] = []
    for encoding in backend.encode_batch([file.text for file in files]):
        stream.append(separator)
        stream.extend(encoding.ids)
    return np.asarray(stream, dtype=np.int64)


# --- model --------------------------------------------------------------------------------------------------


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


def make_optimizer(model: GPT2LMHeadModel, settings: Settings) -> torch.optim.AdamW:
    """AdamW with decay on matrices and none on biases and norm gains, the usual recipe.

    The tied embedding is a matrix, so it decays. Rows that no text ever contains do not end up at the origin, though:
    their small gradients all point away from every hidden state, and AdamW rescales them to full steps.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(settings.beta1, settings.beta2))


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
    model: GPT2LMHeadModel, train: TokenIds, validation: TokenIds, settings: Settings
) -> list[dict[str, float]]:
    """Train in place and return the losses over time."""
    optimizer = make_optimizer(model, settings)
    # A generator of its own: changing the model's initialisation must not change which windows it sees.
    picker = torch.Generator().manual_seed(settings.seed)
    stream = torch.from_numpy(train)
    offsets = torch.arange(settings.context + 1)
    interval = max(1, settings.steps // settings.evaluations)
    history: list[dict[str, float]] = []
    recent: list[float] = []
    model.train()
    progress = tqdm(range(settings.steps), desc="training", unit="step", file=sys.stderr, mininterval=1.0)
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


# --- output -------------------------------------------------------------------------------------------------


def package_versions() -> dict[str, str]:
    """Versions of what can change the result."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "safetensors": safetensors.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
    }


def model_card(record: dict[str, Any]) -> str:
    """The model's README, filled from the training record."""
    settings, text, result = record["settings"], record["text"], record["result"]
    size = (
        f"A GPT-2 of {result['parameters']:,} parameters ({settings['layers']} layers, hidden size "
        f"{settings['hidden']}, vocabulary {settings['vocab_size']:,}, context {settings['context']}, tied "
        "embeddings), small enough to scan in seconds. It exists to have a head with real glitch tokens in "
        "it; the text it writes is of no use."
    )
    training = (
        "Trained by `scripts/train_demo_model.py` on the standard library sources of Python "
        f"{record['versions']['python']} (PSF licence). The byte-level BPE tokenizer saw "
        f"{text['tokenizer']['characters']:,} characters, tests, codec tables and IDE included. The model "
        f"saw {text['train']['characters']:,} characters of library packages ({text['train']['tokens']:,} "
        f"tokens), so {text['tokens_never_in_training_text']} vocabulary tokens never occur in its training "
        "text. Neither weights nor vocabulary were edited."
    )
    repeating = (
        "The run is deterministic for a given seed, thread count and set of package versions. Other builds "
        "of torch or other CPUs may add numbers up in another order: the last bits then differ, and after "
        "thousands of steps so may the leading ones. Another Python version brings another text, and so "
        "another tokenizer and model."
    )
    held_out = f"{text['validation']['files']} held-out files, {text['validation']['tokens']:,} tokens"
    table = [
        f"| {held_out} | perplexity |",
        "|---|---|",
        f"| this model | {result['validation_perplexity']:.1f} |",
        f"| unigram baseline | {result['unigram_perplexity']:.1f} |",
    ]
    blocks = [
        "# Demo model",
        textwrap.fill(size, width=110),
        textwrap.fill(training, width=110),
        "\n".join(table),
        "Settings, losses over time, versions and text fingerprints: `training_log.json`.",
        textwrap.fill(repeating, width=110),
    ]
    return "\n\n".join(blocks) + "\n"


def write_folder(
    out: Path, model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, record: dict[str, Any]
) -> None:
    """Write the model next to ``out``, load it back, and only then move it into place."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        fresh = Path(scratch) / "new"
        fresh.mkdir()
        model.save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
        name_tokenizer_class(fresh / "tokenizer_config.json")
        record = {**record, "weights_bytes": (fresh / "model.safetensors").stat().st_size}
        (fresh / "training_log.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        (fresh / "README.md").write_text(model_card(record), encoding="utf-8")
        check_folder(fresh, model, tokenizer)
        for file in fresh.iterdir():
            file.chmod(0o644)  # the weights come out private, which a package must not be
        if out.exists():
            out.rename(Path(scratch) / "old")
        fresh.rename(out)


def name_tokenizer_class(path: Path) -> None:
    """Name the class as transformers 4 knows it; release 5 writes a name of its own, but reads both."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def check_folder(folder: Path, model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Make sure that what a user will load is what was trained."""
    sample = 'def main(argv):\n    """Assert that naïve text survives."""\n'
    loaded_tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if loaded_tokenizer.encode(sample) != tokenizer.encode(sample):
        raise RuntimeError("The tokenizer that was written encodes differently when loaded.")
    if loaded_tokenizer.decode(loaded_tokenizer.encode(sample)) != sample:
        raise RuntimeError("The tokenizer that was written does not decode back to its input.")
    loaded = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False)
    expected, found = model.state_dict(), loaded.state_dict()
    if expected.keys() != found.keys() or any(not torch.equal(expected[k], found[k]) for k in expected):
        raise RuntimeError("The weights that were written differ when loaded.")


# --- command ------------------------------------------------------------------------------------------------


def run(settings: Settings) -> tuple[GPT2LMHeadModel, PreTrainedTokenizerFast, dict[str, Any]]:
    """Do the whole job in memory and return the model, its tokenizer and the training record."""
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(settings.seed)

    root = Path(sysconfig.get_paths()["stdlib"])
    corpus = split_corpus(stdlib_files(root, settings.max_file_bytes), settings.validation_every)
    log.info("%d files for the tokenizer, %d for the model", len(corpus.tokenizer), len(corpus.train))
    tokenizer = train_tokenizer(corpus.tokenizer, settings)
    train, validation = encode(tokenizer, corpus.train), encode(tokenizer, corpus.validation)
    never_seen = np.flatnonzero(np.bincount(train, minlength=settings.vocab_size) == 0)
    log.info("%d training tokens; %d vocabulary tokens never occur in them", len(train), len(never_seen))

    model = build_model(settings)
    started = time.perf_counter()
    history = train_model(model, train, validation, settings)
    seconds = time.perf_counter() - started
    baseline = unigram_loss(train, validation, settings.vocab_size)
    final = evaluate(model, validation, settings)
    record = {
        "settings": asdict(settings),
        "versions": package_versions(),
        "text": {
            "tokenizer": describe_files(corpus.tokenizer),
            "train": {**describe_files(corpus.train), "tokens": len(train)},
            "validation": {**describe_files(corpus.validation), "tokens": len(validation)},
            "tokens_never_in_training_text": len(never_seen),
            "token_ids_never_in_training_text": never_seen.tolist(),
        },
        "result": {
            "parameters": sum(p.numel() for p in model.parameters()),
            "validation_loss": final,
            "validation_perplexity": math.exp(final),
            "unigram_loss": baseline,
            "unigram_perplexity": math.exp(baseline),
            "training_seconds": round(seconds, 1),
        },
        "losses": history,
    }
    return model, tokenizer, record


DEFAULTS = Settings()


def main(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("reach/demo_model"),
    force: Annotated[bool, typer.Option(help="Replace the folder if it exists.")] = False,
    seed: Annotated[int, typer.Option(help="For initial weights and batches.")] = DEFAULTS.seed,
    vocab_size: Annotated[int, typer.Option(min=300, help="Tokens in the vocabulary.")] = DEFAULTS.vocab_size,
    hidden: Annotated[int, typer.Option(min=4, help="Width of the hidden state.")] = DEFAULTS.hidden,
    layers: Annotated[int, typer.Option(min=1, help="Transformer blocks.")] = DEFAULTS.layers,
    heads: Annotated[int, typer.Option(min=1, help="Heads; must divide the width.")] = DEFAULTS.heads,
    context: Annotated[int, typer.Option(min=8, help="Tokens per window.")] = DEFAULTS.context,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = DEFAULTS.steps,
    batch: Annotated[int, typer.Option(min=1, help="Windows per step.")] = DEFAULTS.batch,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = DEFAULTS.learning_rate,
    weight_decay: Annotated[float, typer.Option(help="AdamW decay on matrices.")] = DEFAULTS.weight_decay,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads; affects rounding.")] = DEFAULTS.threads,
) -> None:
    """Train the demo model on the standard library and write it as a Hugging Face folder."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if hidden % heads:
        raise typer.BadParameter(f"{heads} heads do not divide a width of {hidden}.", param_hint="--heads")
    if out.exists() and not force:
        raise typer.BadParameter(f"{out} exists; pass --force to replace it.", param_hint="--out")
    settings = Settings(
        seed=seed,
        vocab_size=vocab_size,
        hidden=hidden,
        layers=layers,
        heads=heads,
        context=context,
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        threads=threads,
    )
    model, tokenizer, record = run(settings)
    write_folder(out, model, tokenizer, record)
    result = record["result"]
    typer.echo(
        f"{out}: validation perplexity {result['validation_perplexity']:.1f}, "
        f"unigram baseline {result['unigram_perplexity']:.1f}, {result['training_seconds']:.0f} s of training"
    )


if __name__ == "__main__":
    typer.run(main)
