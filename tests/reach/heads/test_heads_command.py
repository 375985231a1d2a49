"""`reach heads`: what it says of a model agrees with the head that is read, and of entries with the entries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
import transformers

from reach.cli import main
from reach.heads.architectures import known_architectures
from reach.heads.load import load_head


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    with pytest.raises(SystemExit) as ended:
        main(["heads", *arguments])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_every_entry_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(said(capsys, "--json"))
    assert [row["model_type"] for row in rows] == list(known_architectures())
    assert {row["norm"] for row in rows} == {"layernorm", "rmsnorm", "rmsnorm+1"}
    lines = said(capsys).splitlines()
    assert [line.split()[0] for line in lines[1 : len(rows) + 1]] == list(known_architectures())


@pytest.mark.parametrize("name", ["gemma2", "opt-350m"])
def test_a_model_with_an_entry(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tiny_models.build(name, tmp_path / "model"))
    head = load_head(folder)
    found = json.loads(said(capsys, folder, "--json", "--quiet"))
    assert found["known_by"] == "table"
    assert found["tensors"] == head.tensors
    assert found["domain"] == head.domain.describe()
    assert found["logits"] == ("capped at 2" if name == "gemma2" else "as they are")
    assert "not against the live model" in found["checked"]


def test_a_model_that_is_learnt_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    config = transformers.CohereConfig(
        vocab_size=80,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        logit_scale=0.25,
    )
    transformers.CohereForCausalLM(config).save_pretrained(tmp_path / "cohere")
    lines = said(capsys, str(tmp_path / "cohere"), "--self-check", "--quiet").splitlines()
    facts = {line[:14].strip(): line[14:] for line in lines}
    assert facts["known by"].startswith("tiny CohereForCausalLM of transformers")
    assert facts["logits"] == "times 0.25"
    assert facts["norm"].startswith("layernorm, eps ")
    assert facts["checked"].startswith("self-check passed")
