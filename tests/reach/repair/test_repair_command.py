"""`reach repair` on real folders: what is written, what is proved of it, and what is left alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from reach_command import reach
from safetensors.torch import load_file, save_file
from tiny_models import build

import reach as library
from reach.demo import demo_model


def content_of(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("demo") / "run"
    assert reach("scan", "--out", run, "--quiet", "--no-report").code == 0
    return run


def test_every_unspeakable_token_of_the_demo_becomes_speakable(demo_run: Path, tmp_path: Path) -> None:
    before = content_of(demo_model())
    silent = library.open(demo_run).unspeakable
    text, out, proof = tmp_path / "text.py", tmp_path / "mended", tmp_path / "proof"
    text.write_text(Path(json.__file__).read_text())
    done = reach("repair", demo_run, "--out", out, "--proof", proof, "--untie", "--text", text, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert content_of(demo_model()) == before
    after = library.open(proof)
    assert len(silent) == 89
    assert len(after.unspeakable) == len(after.undecided) == 0
    assert (after.margin_lower[silent] >= 0.1).all()
    assert {entry["token_id"] for entry in told["tokens"]} == {*silent.tolist(), *told["added"]}
    assert not told["unproved"]
    assert (proof / "report.html").is_file()
    assert reach("verify", proof, "--quiet").code == 0
    # The change as the files have it: the input embedding as it was, other rows of the output too.
    old, new = load_file(demo_model() / "model.safetensors"), load_file(out / "model.safetensors")
    rows = [entry["token_id"] for entry in told["tokens"]]
    moved = new.pop("lm_head.weight") - old["transformer.wte.weight"]
    assert float(moved.norm()) == pytest.approx(told["norm"], rel=1e-5)
    assert np.flatnonzero(moved.any(dim=1).numpy()).tolist() == sorted(rows)
    assert new.keys() == old.keys()
    assert all(torch.equal(new[name], old[name]) for name in old)
    assert not json.loads((out / "config.json").read_text())["tie_word_embeddings"]
    assert told["untied"]
    assert not told["input_embedding_changed"]
    # A small change, which ordinary text does not notice.
    assert told["norm"] < 0.1
    assert told["text"]["after"] == pytest.approx(told["text"]["before"], rel=1e-3)
    assert told["text"]["same"] > 0.999
    # The live model says one of them, where it never could.
    live = transformers.AutoModelForCausalLM.from_pretrained(out)
    token = int(silent[0])
    point = torch.from_numpy(after.about(library.load(out))[token].witness).float()
    norm = live.transformer.ln_f
    logits = live.lm_head(point * norm.weight + norm.bias)
    assert int(logits.argmax()) == token


def test_a_tied_head_changes_under_both_names(tmp_path: Path) -> None:
    model = build("llama", tmp_path / "model")
    tensors = load_file(model / "model.safetensors")
    tensors["model.embed_tokens.weight"][7:9] *= 0.05
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    assert reach("scan", model, "--out", tmp_path / "run", "--quiet", "--no-report").code == 0
    out = tmp_path / "new"
    done = reach(
        "repair", tmp_path / "run", "--out", out, "--proof", tmp_path / "proof", "--quiet", "--no-report",
        "--silence", "3",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "the input embedding changes with it" in done.err
    new = load_file(out / "model.safetensors")
    assert torch.equal(new["lm_head.weight"], new["model.embed_tokens.weight"])
    assert not torch.equal(new["lm_head.weight"][3], tensors["lm_head.weight"][3])
    found = library.open(tmp_path / "proof")
    assert found[3].verdict == "unspeakable"
    record = json.loads((out / "repair.json").read_text())
    assert record["tokens"][0]["token_id"] == 3
    assert record["input_embedding_changed"]


def test_shards_and_bfloat16(tmp_path: Path) -> None:
    model = build("llama", tmp_path / "model", tied=False, dtype=torch.bfloat16, shards=True)
    assert reach("scan", model, "--out", tmp_path / "run", "--quiet", "--no-report").code == 0
    out = tmp_path / "new"
    done = reach(
        "repair", tmp_path / "run", "--out", out, "--proof", tmp_path / "proof", "--quiet", "--no-report",
        "--silence", "3,4", "--tokens", "5", "--margin", "3",
    )  # fmt: skip
    assert done.code == 0, done.err
    found = library.open(tmp_path / "proof")
    assert [found[token].verdict for token in (3, 4, 5)] == ["unspeakable", "unspeakable", "speakable"]
    assert found.margin_lower[5] >= 3
    assert library.load(out).dtype == "bfloat16"
    changed = [name for name, digest in content_of(model).items() if content_of(out).get(name) != digest]
    index = json.loads((model / "model.safetensors.index.json").read_text())["weight_map"]
    assert changed == [index["lm_head.weight"]]


def test_what_is_refused_is_refused_before_anything_is_written(demo_run: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    out = tmp_path / "out"
    assert "name the new folder" in reach("repair", demo_run).complaint
    assert "is there already" in reach("repair", demo_run, "--out", there).complaint
    beyond = reach("repair", demo_run, "--out", out, "--silence", "99999")
    assert "--silence 99999: the head has ids 0 to 3999" in beyond.complaint
    both = reach("repair", demo_run, "--out", out, "--tokens", "5", "--silence", "5")
    assert "token 5 is to be made speakable and silenced at once" in both.complaint
    assert "no such file" in reach("repair", demo_run, "--out", out, "--text", tmp_path / "none").complaint
    other = reach("repair", demo_run, "--out", out, "--proof", demo_run)
    assert "there is a run already" in other.complaint
    assert "no run folder" in reach("repair", tmp_path, "--out", out).complaint
    head = tmp_path / "head.npz"
    np.savez(head, W=np.eye(4, dtype=np.float32))
    assert reach("scan", head, "--domain", "ball:1", "--out", tmp_path / "bare", "--quiet", "--no-report").code == 0
    bare = reach("repair", tmp_path / "bare", "--out", out, "--silence", "1")
    assert "only a model folder can be repaired" in bare.complaint
    assert not out.exists()


def test_a_run_of_another_head_is_refused(tmp_path: Path) -> None:
    model = build("llama", tmp_path / "model", tied=False)
    assert reach("scan", model, "--out", tmp_path / "run", "--quiet", "--no-report").code == 0
    untied = reach("repair", tmp_path / "run", "--out", tmp_path / "out", "--untie", "--silence", "3")
    assert "has an output matrix of its own already" in untied.complaint
    tensors = load_file(model / "model.safetensors")
    tensors["lm_head.weight"] *= 2
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    other = reach("repair", tmp_path / "run", "--out", tmp_path / "out", "--silence", "3")
    assert "is a scan of another head" in other.complaint
