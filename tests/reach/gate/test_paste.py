"""What is to be pasted does what it says: tokens that came out before never come out after."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from gate_models import NAMED, model, save
from reach_command import reach
from transformers import AutoModelForCausalLM

from reach.gate.paste import FILES

FIRST = 96


@pytest.fixture(scope="module")
def pasted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model that likes to say its padding rows, and what the gate writes for it."""

    def pad(head: torch.Tensor) -> None:
        head[NAMED:] *= 6

    place = tmp_path_factory.mktemp("paste")
    folder = save(model(128), place / "m", pad)
    assert reach("check", folder, "--paste", place / "paste").code == 1
    return folder, place / "paste"


def said(folder: Path, **options: Any) -> set[int]:
    """What the model says, greedily and drawn, after a few beginnings."""
    live = AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(0)
    found: set[int] = set()
    begin = torch.arange(0, 40)[:, None]
    for how in ({"do_sample": False}, {"do_sample": True, "top_k": 0}):
        out = live.generate(begin, attention_mask=torch.ones_like(begin), max_new_tokens=12, **how, **options)
        found |= set(out[:, 1:].flatten().tolist())
    return found


def masked(folder: Path) -> set[int]:
    return set(json.loads(reach("check", folder, "--json").out)["mask"])


def test_the_model_says_padding_rows_before(pasted: tuple[Path, Path]) -> None:
    folder, _ = pasted
    assert len(masked(folder) & said(folder)) > 10


def test_entries_of_the_generation_config_mask_them(pasted: tuple[Path, Path], tmp_path: Path) -> None:
    folder, paste = pasted
    before = masked(folder)
    entries = json.loads((paste / "generation_config_entries.json").read_text())
    assert {token for (token,) in entries["bad_words_ids"]} == set(entries["suppress_tokens"]) == before
    for key in entries:
        assert not before & said(folder, **{key: entries[key]})
    # Pasted into the file itself, the gate knows of it too.
    copy = tmp_path / "m"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    settings = json.loads((copy / "generation_config.json").read_text())
    (copy / "generation_config.json").write_text(json.dumps(settings | entries))
    done = reach("check", copy, "--json")
    assert (done.code, json.loads(done.out)["mask"]) == (0, [])
    assert not before & said(copy)


def test_the_logits_processor_masks_them(pasted: tuple[Path, Path]) -> None:
    folder, paste = pasted
    spec = importlib.util.spec_from_file_location("mask_tokens", paste / "mask_tokens.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert set(module.TOKENS) == masked(folder)
    assert not set(module.TOKENS) & said(folder, logits_processor=[module.MaskTokens()])


def test_logit_biases_name_the_same_tokens(pasted: tuple[Path, Path]) -> None:
    folder, paste = pasted
    bias = json.loads((paste / "logit_bias.json").read_text())["logit_bias"]
    assert {int(token) for token in bias} == masked(folder)
    assert set(bias.values()) == {-100}
    # As a server adds it, and as transformers' own bias does.
    sequence = {(int(token),): float(value) for token, value in bias.items()}
    assert not masked(folder) & said(folder, sequence_bias=sequence)


def test_the_workflow_runs_the_command_that_there_is(pasted: tuple[Path, Path], tmp_path: Path) -> None:
    folder, paste = pasted
    steps = [line.strip() for line in (paste / "reach-check.yml").read_text().splitlines() if "run: reach" in line]
    words = steps[0].removeprefix("- run: reach ").split()
    words = [
        str(folder) if word == "." else str(tmp_path / word) if word.endswith(".xml") else word for word in words
    ]
    assert reach(*words).code == 1
    assert (tmp_path / "reach-check.xml").is_file()


def test_nothing_is_overwritten_unasked(pasted: tuple[Path, Path], tmp_path: Path) -> None:
    folder, paste = pasted
    before = {name: (paste / name).read_bytes() for name in FILES}
    assert reach("check", folder, "--paste", paste).complaint.endswith(
        "exists already; pass --force to write it again"
    )
    assert {name: (paste / name).read_bytes() for name in FILES} == before
    assert reach("check", folder, "--paste", paste, "--force").code == 1
    file = tmp_path / "file"
    file.write_text("")
    assert reach("check", folder, "--paste", file).complaint == f"{file}: is a file; --paste takes a folder"
