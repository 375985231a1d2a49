"""Settings of quantisers of any kind, and tensors of any shape: a head or one line, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from test_gptq_awq import AWQ, awq, entry, gptq
from test_refused_samples import folder_of, sample
from tiny_quantised import model_folder

from reach.heads.load import load_head
from solvers.errors import BadInput

MANY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = ["gptq", "awq", "mlx-4-bit", "bitsandbytes-nf4-nested", "compressed-w4a16-asymmetric", "compressed-fp8-block"]
VALUES = st.sampled_from(
    ["null", "true", "0", "-9", "4", "8", "1e400", "0.5", '""', '"gptq"', "[]", "{}", "[[1]]", "[1, 2]", str(2**40)]
)
"""As JSON."""


def folder(name: str, path: Path) -> Path:
    if name == "gptq":
        return model_folder(path, gptq(4)[0], **entry())
    if name == "awq":
        return model_folder(path, awq()[0], **AWQ)
    head, config, expected = sample(name)
    return folder_of(path, head, config, expected.shape)


def read(path: Path) -> None:
    try:
        head = load_head(str(path))
    except BadInput as error:
        assert "\n" not in str(error)
    else:
        assert head.v == json.loads((path / "config.json").read_text())["vocab_size"]
        assert bool(torch.isfinite(head.weight.double()).all())


def tables(value: Any) -> list[dict[str, Any]]:
    """A table of settings and all tables in it."""
    inner = list(value.values()) if isinstance(value, dict) else []
    return ([value] if isinstance(value, dict) else []) + [table for part in inner for table in tables(part)]


@pytest.mark.parametrize("name", NAMES)
@MANY
@given(data=st.data())
def test_settings_of_any_kind(name: str, tmp_path: Path, data: st.DataObject) -> None:
    path = folder(name, tmp_path)
    config = json.loads((path / "config.json").read_text())
    for _ in range(data.draw(st.integers(1, 2))):
        table = data.draw(st.sampled_from(tables(config.get("quantization_config"))))
        if table:
            table[data.draw(st.sampled_from(sorted(table)))] = json.loads(data.draw(VALUES))
    (path / "config.json").write_text(json.dumps(config))
    read(path)


@pytest.mark.parametrize("name", NAMES)
@MANY
@given(data=st.data())
def test_tensors_of_another_shape_or_type(name: str, tmp_path: Path, data: st.DataObject) -> None:
    path = folder(name, tmp_path)
    tensors = {key: tensor.clone() for key, tensor in load_file(path / "model.safetensors").items()}
    key = data.draw(st.sampled_from([key for key in tensors if key.startswith("lm_head.")]))
    shape = data.draw(st.lists(st.integers(0, 5), max_size=3))
    dtypes = [torch.uint8, torch.int32, torch.float16, torch.float64, torch.bool, tensors[key].dtype]
    tensors[key] = torch.zeros(shape).to(data.draw(st.sampled_from(dtypes)))
    (path / "model.safetensors").unlink()
    save_file(tensors, path / "model.safetensors")
    read(path)
