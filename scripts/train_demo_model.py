"""Train the small demo language model that ships with the project, and families of it.

The text is what every Python installation brings along: the standard library's own sources and docstrings.
The tokenizer is trained on nearly all of it; the language model sees only the library packages, not the
tests, the codec tables or the IDE. That mismatch is how glitch tokens arise in large models too: a tokenizer
learns a word from text that the model is then never trained on. Nothing is edited by hand, neither weights
nor vocabulary.

    python scripts/train_demo_model.py --out reach/demo_model --force

The result is a plain GPT-2 folder, which ``AutoModelForCausalLM`` and ``AutoTokenizer`` load, with a
``training_log.json`` beside the weights.

    python scripts/train_demo_model.py --out family --seeds 0,1,2 --optimizer sgd,adam,adamw --checkpoints 12

trains one model for each optimiser and seed and keeps twelve checkpoints of each, the initialised model among
them: ``family/adamw-seed-0/checkpoint-21`` and so on, each a folder that loads. What is already there is not
trained again.
"""

from __future__ import annotations

import json
import logging
import math
import multiprocessing
import platform
import shutil
import sys
import sysconfig
import tempfile
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import safetensors
import tokenizers
import torch
import transformers
import typer
from demo_text import Corpus, TokenIds, describe_files, encode, split_corpus, stdlib_files, train_tokenizer
from demo_training import (
    OPTIMIZERS,
    Settings,
    build_model,
    evaluate,
    settings_for,
    steps_kept,
    train_model,
    unigram_loss,
)
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel, PreTrainedTokenizerFast

log = logging.getLogger("train_demo_model")
LOG_FILE = "training_log.json"

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
    out: Path, model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, texts: dict[str, str] | None = None
) -> None:
    """Write the model and further files next to ``out``, load it back, and only then move it into place."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        fresh = Path(scratch) / "new"
        fresh.mkdir()
        model.save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
        name_tokenizer_class(fresh / "tokenizer_config.json")
        for name, text in (texts or {}).items():
            (fresh / name).write_text(text, encoding="utf-8")
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


# --- training -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Material:
    """What all models of a family share: the text, and the tokenizer that is trained on it."""

    corpus: Corpus
    tokenizer: PreTrainedTokenizerFast
    train: TokenIds
    validation: TokenIds
    never_seen: list[int]


def material(settings: Settings) -> Material:
    """Read the text and train the tokenizer."""
    root = Path(sysconfig.get_paths()["stdlib"])
    corpus = split_corpus(stdlib_files(root, settings.max_file_bytes), settings.validation_every)
    log.info("%d files for the tokenizer, %d for the model", len(corpus.tokenizer), len(corpus.train))
    tokenizer = train_tokenizer(corpus.tokenizer, settings.vocab_size, settings.context)
    train, validation = encode(tokenizer, corpus.train), encode(tokenizer, corpus.validation)
    never_seen = np.flatnonzero(np.bincount(train, minlength=settings.vocab_size) == 0).tolist()
    log.info("%d training tokens; %d vocabulary tokens never occur in them", len(train), len(never_seen))
    return Material(corpus, tokenizer, train, validation, never_seen)


def run(
    settings: Settings, given: Material, keep: Callable[[GPT2LMHeadModel, int], None] = lambda *_: None
) -> tuple[GPT2LMHeadModel, dict[str, Any]]:
    """Train a model in memory and return it with the training record; `keep` is shown the model after each step."""
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(settings.seed)
    model = build_model(settings)
    started = time.perf_counter()
    history = train_model(model, given.train, given.validation, settings, lambda step: keep(model, step))
    seconds = time.perf_counter() - started
    baseline = unigram_loss(given.train, given.validation, settings.vocab_size)
    final = evaluate(model, given.validation, settings)
    record = {
        "settings": asdict(settings),
        "versions": package_versions(),
        "text": {
            "tokenizer": describe_files(given.corpus.tokenizer),
            "train": {**describe_files(given.corpus.train), "tokens": len(given.train)},
            "validation": {**describe_files(given.corpus.validation), "tokens": len(given.validation)},
            "tokens_never_in_training_text": len(given.never_seen),
            "token_ids_never_in_training_text": given.never_seen,
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
    return model, record


def train_member(folder: Path, settings: Settings, given: Material, steps: list[int]) -> str:
    """Train one model of a family into `folder`, a checkpoint for each of `steps`; its record is written last."""

    def keep(model: GPT2LMHeadModel, step: int) -> None:
        if step in steps:
            write_folder(folder / f"checkpoint-{step}", model, given.tokenizer)

    shutil.rmtree(folder, ignore_errors=True)
    _, record = run(settings, given, keep)
    (folder / LOG_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return said(folder, record)


def train_family(out: Path, members: list[Settings], steps: list[int], jobs: int) -> None:
    """Train every member that is not there yet, so many side by side as there are jobs."""
    missing = {out / f"{one.optimizer}-seed-{one.seed}": one for one in members}
    for folder in [folder for folder in missing if (folder / LOG_FILE).is_file()]:
        before = json.loads((folder / LOG_FILE).read_text(encoding="utf-8"))["settings"]
        if before != asdict(missing.pop(folder)):
            raise typer.BadParameter(f"{folder} was trained with other settings; choose another folder.")
        log.info("%s: is there", folder)
    if not missing:
        return
    given = material(members[0])
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        tasks = [pool.submit(train_member, folder, one, given, steps) for folder, one in missing.items()]
        for task in as_completed(tasks):
            typer.echo(task.result())


def said(out: Path, record: dict[str, Any]) -> str:
    """What came of a training run, in a line."""
    result = record["result"]
    return (
        f"{out}: validation perplexity {result['validation_perplexity']:.1f}, "
        f"unigram baseline {result['unigram_perplexity']:.1f}, {result['training_seconds']:.0f} s of training"
    )


# --- command ------------------------------------------------------------------------------------------------

DEFAULTS = Settings()


def main(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("reach/demo_model"),
    force: Annotated[bool, typer.Option(help="Replace the folder if it exists.")] = False,
    seed: Annotated[int, typer.Option(help="For initial weights and batches.")] = DEFAULTS.seed,
    seeds: Annotated[str | None, typer.Option(help="Several, such as 0,1,2: a family of models.")] = None,
    optimizer: Annotated[
        str, typer.Option(help=f"Of {', '.join(OPTIMIZERS)}; several make a family.")
    ] = DEFAULTS.optimizer,
    checkpoints: Annotated[
        int | None, typer.Option(min=1, help="Keep so many, from the initialised model to the last: a family.")
    ] = None,
    vocab_size: Annotated[int, typer.Option(min=300, help="Tokens in the vocabulary.")] = DEFAULTS.vocab_size,
    hidden: Annotated[int, typer.Option(min=4, help="Width of the hidden state.")] = DEFAULTS.hidden,
    layers: Annotated[int, typer.Option(min=1, help="Transformer blocks.")] = DEFAULTS.layers,
    heads: Annotated[int, typer.Option(min=1, help="Heads; must divide the width.")] = DEFAULTS.heads,
    context: Annotated[int, typer.Option(min=8, help="Tokens per window.")] = DEFAULTS.context,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = DEFAULTS.steps,
    batch: Annotated[int, typer.Option(min=1, help="Windows per step.")] = DEFAULTS.batch,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate. Default: 0.004, of SGD 1.")] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="Decay of matrices. Default: 0.1 with AdamW, else none.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads; affects rounding.")] = DEFAULTS.threads,
    jobs: Annotated[int, typer.Option(min=1, help="Models of a family that are trained side by side.")] = 2,
) -> None:
    """Train the demo model on the standard library and write it as a Hugging Face folder."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if hidden % heads:
        raise typer.BadParameter(f"{heads} heads do not divide a width of {hidden}.", param_hint="--heads")
    names, numbers = _several(optimizer), _several(seeds or str(seed))
    if unknown := [name for name in names if name not in OPTIMIZERS]:
        raise typer.BadParameter(
            f"There is no {unknown[0]}; there are {', '.join(OPTIMIZERS)}.", param_hint="--optimizer"
        )
    if not numbers or not all(number.isdecimal() for number in numbers):
        raise typer.BadParameter("Give whole numbers, separated by commas.", param_hint="--seeds")
    members = [
        settings_for(
            name, int(number), learning_rate=learning_rate, weight_decay=weight_decay, vocab_size=vocab_size,
            hidden=hidden, layers=layers, heads=heads, context=context, steps=steps, batch=batch, threads=threads,
        )
        for name in names
        for number in numbers
    ]  # fmt: skip
    if seeds is not None or len(members) > 1 or checkpoints is not None:
        train_family(out, members, steps_kept(steps, checkpoints or 1), jobs)
        return
    if out.exists() and not force:
        raise typer.BadParameter(f"{out} exists; pass --force to replace it.", param_hint="--out")
    given = material(members[0])
    model, record = run(members[0], given)
    texts = {LOG_FILE: json.dumps(record, indent=2) + "\n", "README.md": model_card(record)}
    write_folder(out, model, given.tokenizer, texts)
    typer.echo(said(out, record))


def _several(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


if __name__ == "__main__":
    typer.run(main)
