"""The release gate on a head as large as they come: the whole command, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

MIB = 2**20
DEEP = 10
"""Rows of each odd kind, where there are such."""


def gate_cases(rows: int, columns: int, asked: int) -> list[dict[str, Any]]:
    """`reach check` of a random bfloat16 head with an RMSNorm: its last rows have no token.

    Args:
        rows, columns: of the head.
        asked: how many rows it decides.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        matrix = torch.empty((rows, columns), dtype=torch.bfloat16)
        generator = torch.Generator().manual_seed(0)
        for start in range(0, rows, 4096):
            part = matrix[start : start + 4096]
            part.copy_(torch.randn(part.shape, generator=generator) / columns**0.5)
        gamma = (1 + 0.1 * torch.randn(columns, generator=generator)).to(torch.bfloat16)
        _save_model(folder, matrix, gamma, asked)
        plain = _check(folder, "rows of one size")
        mean = matrix[: rows // 2].float().mean(dim=0)
        last = rows - asked
        for at in range(DEEP):
            matrix[last + at] = 0
            matrix[last + DEEP + at] = mean + 1e-6 * torch.randn(columns, generator=generator)
            matrix[last + 2 * DEEP + at] = matrix[17]
        matrix[0] = 0.5 * mean
        _save_model(folder, matrix, gamma, asked)
        return [plain, _check(folder, f"{DEEP} rows each of zeros, near the mean and copied among them")]


def _save_model(folder: Path, matrix: torch.Tensor, gamma: torch.Tensor, without: int) -> None:
    """A folder with all but the layers: tokenizer, generation config and the head."""
    rows, columns = matrix.shape
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": columns, "vocab_size": rows,
        "rms_norm_eps": 1e-6, "tie_word_embeddings": False, "num_hidden_layers": 1, "num_attention_heads": 8,
        "intermediate_size": 8,
    }  # fmt: skip
    words = {f"w{at}": at for at in range(rows - without)}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "w1"},
    }
    generation = {"eos_token_id": [0, 1, 2]}
    for name, content in (
        ("config", config), ("tokenizer", tokenizer), ("generation_config", generation),
    ):  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    save_file({"lm_head.weight": matrix, "model.norm.weight": gamma}, folder / "model.safetensors")


def _check(folder: Path, name: str) -> dict[str, Any]:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _RUN, "check", str(folder), "--json"], capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    record = json.loads(done.stdout)
    verdicts = [entry["verdict"] for entry in record["tokens"]]
    return {
        "case": name,
        "tokens": len(verdicts),
        "seconds": seconds,
        "after_loading": record["seconds"],
        "peak_mib": int(done.stderr.split()[-1]) / 1024,
        "verdicts": {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))},
        "must": [entry["fails"] for entry in record["tokens"] if entry["side"] == "must"],
    }


# The kernel's high-water mark of this address space; ru_maxrss would start at the parent's.
_RUN = """
import sys
from reach.cli import main
try:
    main(sys.argv[1:])
finally:
    peak = [line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0]
    sys.stderr.write(f"\\n{peak}\\n")
"""
