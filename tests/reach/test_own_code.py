"""Python code that a model folder brings along is never run, and nobody is asked whether it should be."""

from __future__ import annotations

import ast
import io
import json
import sys
from pathlib import Path

import pytest
import torch
import transformers as hf
from reach_command import ROOT, manifest_of, reach
from tokenizers import Tokenizer, models

from reach.heads.head import Head
from reach.interference.controls import reinitialised
from solvers.errors import BadInput

CODE = """
from pathlib import Path
Path(r"{marker}").write_text("run")
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
class OwnTokenizer(PreTrainedTokenizerFast): pass
class OwnConfig(LlamaConfig):
    model_type = "own"
class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
"""
V = 12
BY_HAND = ("--weight-tensor", "lm_head.weight", "--norm", "rmsnorm", "--gamma-tensor", "model.norm.weight")


class Keyboard(io.StringIO):
    """Someone who says yes to everything, and whether they were asked."""

    def __init__(self) -> None:
        super().__init__("y\n" * 50)
        self.asked = False

    def readline(self, *arguments: int) -> str:  # type: ignore[override]
        self.asked = True
        return super().readline(*arguments)


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Keyboard:
    keys = Keyboard()
    monkeypatch.setattr(sys, "stdin", keys)
    return keys


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the code writes, if it is run; what transformers copies of it stays in this test's folder."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    return tmp_path / "marker"


def build(folder: Path, marker: Path) -> Path:
    """A tiny model that transformers knows."""
    torch.manual_seed(0)
    config = hf.LlamaConfig(
        vocab_size=V, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=32, tie_word_embeddings=False,
    )  # fmt: skip
    hf.LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "own.py").write_text(CODE.format(marker=marker))
    return folder


def with_own_tokenizer(folder: Path) -> Path:
    """A tokenizer of the older kind, which only its own class can read."""
    vocab = {chr(97 + number): number for number in range(V)}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    settings = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": [None, "own.OwnTokenizer"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def with_own_model(folder: Path) -> Path:
    """A model type that only its own classes know."""
    path = folder / "config.json"
    own = {
        "model_type": "own",
        "architectures": ["OwnForCausalLM"],
        "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnForCausalLM"},
    }
    path.write_text(json.dumps(json.loads(path.read_text()) | own))
    vocab = {chr(97 + number): number for number in range(V)}
    Tokenizer(models.WordLevel(vocab, unk_token="a")).save(str(folder / "tokenizer.json"))
    return folder


def test_a_tokenizer_with_code_is_not_read(tmp_path: Path, marker: Path, keyboard: Keyboard) -> None:
    folder, run = with_own_tokenizer(build(tmp_path / "model", marker)), tmp_path / "run"
    outcome = reach("scan", folder, "--out", run, "--quiet", "--no-report")
    assert outcome.code == 0, outcome.err
    note = (
        "can only be loaded by Python code that it brings along (auto_map), which is never run: tokens are shown by"
    )
    assert note in outcome.err
    assert any(note in warning for warning in manifest_of(run)["warnings"])
    assert not keyboard.asked
    assert not marker.exists()


def test_a_search_with_such_a_tokenizer_goes_by_ids(tmp_path: Path, marker: Path, keyboard: Keyboard) -> None:
    folder = with_own_tokenizer(build(tmp_path / "model", marker))
    outcome = reach("search", folder, "--out", tmp_path / "run", "--budget", 1, "--length", 1, "--strength", 0,
                    "--no-report", "--quiet", "--jobs", 1)  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "which is never run: prompts are searched by ids alone" in outcome.err
    assert not keyboard.asked
    assert not marker.exists()


@pytest.mark.parametrize(
    "command",
    [("search", "--budget", 1), ("scan", *BY_HAND, "--self-check")],
    ids=["search", "scan --self-check"],
)
def test_a_model_with_code_is_one_line(
    command: tuple[object, ...], tmp_path: Path, marker: Path, keyboard: Keyboard
) -> None:
    folder = with_own_model(build(tmp_path / "model", marker))
    name, *options = command
    outcome = reach(name, folder, *options, "--out", tmp_path / "run", "--quiet")
    assert (
        "can only be loaded by Python code that it brings along (auto_map), which is never run" in outcome.complaint
    )
    assert not keyboard.asked
    assert not marker.exists()


def test_the_head_of_such_a_model_needs_none_of_its_code(tmp_path: Path, marker: Path, keyboard: Keyboard) -> None:
    folder, run = with_own_model(build(tmp_path / "model", marker)), tmp_path / "run"
    assert "unknown architecture own (OwnForCausalLM)" in reach("scan", folder, "--out", run, "--quiet").complaint
    outcome = reach("scan", folder, *BY_HAND, "--out", run, "--quiet", "--no-report")
    assert outcome.code == 0, outcome.err
    assert "whether that code does something else with the head is not known" in outcome.err
    assert reach("verify", run, "--quiet").code == 0
    assert not keyboard.asked
    assert not marker.exists()


def test_no_fresh_model_is_built_with_code(tmp_path: Path, marker: Path, keyboard: Keyboard) -> None:
    folder = with_own_model(build(tmp_path / "model", marker))
    with pytest.raises(BadInput, match="which is never run"):
        reinitialised(Head(weight=torch.zeros(V, 8), folder=folder), seed=0)
    assert not keyboard.asked
    assert not marker.exists()


def test_a_class_that_is_known_is_loaded_without_the_code_beside_it(
    tmp_path: Path, marker: Path, keyboard: Keyboard
) -> None:
    folder = build(tmp_path / "model", marker)
    path = folder / "config.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoModelForCausalLM": "own.OwnForCausalLM"}})
    )
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(CODE.format(marker=marker))
    outcome = reach("scan", folder, "--self-check", "--out", tmp_path / "run", "--quiet", "--no-report")
    assert outcome.code == 0, outcome.err
    assert "self-check passed" in outcome.err
    assert not keyboard.asked
    assert not marker.exists()


def calls_of_loaders(file: Path) -> list[ast.Call]:
    """Every call of `….from_pretrained(…)` or `….from_config(…)` in a source file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    loaders = ("from_pretrained", "from_config")
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in loaders
    ]


def test_every_loader_is_told_to_run_no_code() -> None:
    """In `reach` there is one place that calls them; scripts may, with the same words."""
    files = [file for folder in ("reach", "reports", "solvers", "scripts") for file in (ROOT / folder).rglob("*.py")]
    found = {file.relative_to(ROOT).as_posix(): calls for file in files if (calls := calls_of_loaders(file))}
    assert {name for name in found if not name.startswith("scripts/")} == {"reach/pretrained.py"}
    for name, calls in found.items():
        for call in calls:
            told = {word.arg: word.value for word in call.keywords}
            value = told.get("trust_remote_code")
            assert isinstance(value, ast.Constant), f"{name}:{call.lineno}"
            assert value.value is False, f"{name}:{call.lineno}"
