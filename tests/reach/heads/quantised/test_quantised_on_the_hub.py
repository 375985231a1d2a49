"""Quantised heads are read from the Hub by their parts, and are the same as in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from local_hub import point_at, serving
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_quantised import model_folder

from reach.heads.load import load_head

SAMPLES = Path(__file__).parent / "samples"


@pytest.mark.parametrize(
    "name", ["bitsandbytes-nf4-nested", "compressed-fp8-block", "compressed-w4a16-asymmetric", "mlx-3-bit"]
)
def test_a_quantised_head_from_the_hub(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = SAMPLES / f"{name}.safetensors"
    with safe_open(file, "pt") as handle:
        config = json.loads(handle.metadata()["config"])
    head = load_file(file)
    shape = tuple(head.pop("expected").shape)
    folder = model_folder(tmp_path / "model", head, shape, **config)
    with serving(folder) as local:
        point_at(local, monkeypatch, tmp_path / "cache")
        far, near = load_head("org/tiny"), load_head(str(folder))
        assert torch.equal(far.weight, near.weight)
        assert far.tensors == near.tensors
        assert "model.safetensors" not in local.fetched
        # The embedding, as large as the head was before, stays where it is.
        ranges = [(start, stop) for _, start, stop in local.parts[1:]]
        assert all(stop - start < 2 * shape[0] * shape[1] for start, stop in ranges)
