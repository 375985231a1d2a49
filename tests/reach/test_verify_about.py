"""`reach verify` says which head it proved the verdicts about, and whether that is the model's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reach_command import Outcome, change_manifest, manifest_of, reach, save_head
from safetensors.numpy import save_file

V, D = 24, 4


def save_model(folder: Path, config: dict[str, Any], **tensors: np.ndarray) -> Path:
    """A model folder; `__` in a tensor's name stands for a dot."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"vocab_size": V, "hidden_size": D} | config))
    save_file({name.replace("__", "."): array for name, array in tensors.items()}, folder / "model.safetensors")
    return folder


def rows(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((V, D)).astype(np.float32)


def save_gpt2(folder: Path) -> Path:
    """A LayerNorm with γ and β, tied, and a second matrix that is no head."""
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "layer_norm_epsilon": 1e-5}
    return save_model(
        folder, config, transformer__wte__weight=rows(1), transformer__wpe__weight=rows(2),
        transformer__ln_f__weight=np.linspace(0.5, 1.5, D, dtype=np.float32),
        transformer__ln_f__bias=rows(3)[0],
    )  # fmt: skip


@pytest.fixture
def gpt2(tmp_path: Path) -> Path:
    return save_gpt2(tmp_path / "gpt2")


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scanned(save_gpt2(tmp_path_factory.mktemp("untouched") / "gpt2"))


@pytest.fixture
def run(untouched: Path, tmp_path: Path) -> Path:
    """A run of the model's own head, to be changed."""
    return Path(shutil.copytree(untouched, tmp_path / "run"))


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    """An RMSNorm whose factors are all 1, tied."""
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": True}
    tensors = {"model__embed_tokens__weight": rows(1), "model__norm__weight": np.ones(D, np.float32)}
    return save_model(tmp_path / "llama", config | {"rms_norm_eps": 1e-5}, **tensors)


def scanned(model: Path, *options: object) -> Path:
    run = model.parent / "run"
    outcome = reach("scan", model, "--out", run, "--quiet", "--no-report", *options)
    assert outcome.code == 0, outcome.err
    return run


def about(run: Path, *options: object) -> tuple[Outcome, dict[str, Any]]:
    """What verify says for a program, having checked that it says the same with its exit code."""
    outcome = reach("verify", run, "--json", *options)
    record = json.loads(outcome.out)
    assert record["ok"] == (outcome.code == 0)
    assert outcome.code in (0, 1), outcome.err
    assert not record["failed"]
    return outcome, record


# --- the model's own head ------------------------------------------------------------------------------------------


def test_what_was_proved_is_said(gpt2: Path) -> None:
    run = scanned(gpt2)
    _, record = about(run)
    assert record["about"] == {
        "model": str(gpt2),
        "revision": None,
        "architecture": "GPT2LMHeadModel",
        "tensors": {
            "weight": "transformer.wte.weight",
            "gamma": "transformer.ln_f.weight",
            "beta": "transformer.ln_f.bias",
        },
        "norm": "layernorm",
        "eps": 1e-5,
        "domain": "ball:2",
        "overrides": {},
        "own_head": True,
        "own": {key: record["about"][key] for key in ("tensors", "norm", "eps", "domain")},
        "meant": True,
        "reason": None,
        "notes": [],
    }
    lines = reach("verify", run, "--quiet").out.splitlines()
    assert lines[1:5] == [
        f"  model       {gpt2} (GPT2LMHeadModel)",
        "  head        weight transformer.wte.weight, gamma transformer.ln_f.weight, beta transformer.ln_f.bias; "
        "layernorm, eps 1e-05",
        "  domain      ball:2, the model's own",
        "  overrides   none",
    ]


def test_another_domain_is_an_ordinary_use(gpt2: Path) -> None:
    run = scanned(gpt2, "--domain", "free")
    outcome = reach("verify", run, "--quiet")
    assert outcome.code == 0
    assert "  domain      free; the model's own is ball:2\n" in outcome.out
    _, record = about(run)
    assert (record["about"]["domain"], record["about"]["own"]["domain"]) == ("free", "ball:2")
    assert record["about"]["own_head"] is True


@pytest.mark.parametrize(
    "options",
    [("--weight-tensor", "transformer.wte.weight"), ("--eps", 0.1), ("--norm", "layernorm", "--domain", "norm")],
)
def test_overrides_that_change_nothing(gpt2: Path, options: tuple[object, ...]) -> None:
    run = scanned(gpt2, *options)
    outcome, record = about(run)
    assert outcome.code == 0
    assert record["about"]["own_head"] is True
    assert "which change nothing: this is the model's own head" in reach("verify", run, "--quiet").out


# --- another head --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (("--beta-tensor", "none"), "beta none instead of transformer.ln_f.bias"),
        (
            ("--weight-tensor", "transformer.wpe.weight"),
            "weight transformer.wpe.weight instead of transformer.wte.weight",
        ),
        (("--gamma-tensor", "none"), "gamma none instead of transformer.ln_f.weight"),
        (("--norm", "rmsnorm"), "rmsnorm, eps 1e-05 instead of layernorm, eps 1e-05"),
        (("--norm", "none"), "gamma none instead of transformer.ln_f.weight"),
        (("--bias-tensor", "bias"), "bias bias instead of none"),
    ],
)
def test_a_head_that_only_the_manifest_describes(
    gpt2: Path, tmp_path: Path, options: tuple[str, str], difference: str
) -> None:
    """Every verdict is proved, but not about the model: exit code 1, unless the options are said again."""
    if "bias" in options:
        extra = {"bias": np.linspace(-1, 1, V, dtype=np.float32)}
        config = json.loads((gpt2 / "config.json").read_text())
        tensors = {"transformer__wte__weight": rows(1), "transformer__ln_f__weight": np.ones(D, np.float32)}
        gpt2 = save_model(tmp_path / "with", config, **tensors, transformer__ln_f__bias=rows(3)[0], **extra)
    run = scanned(gpt2, *options)
    for where in ((), ("--model", gpt2)):
        outcome, record = about(run, *where)
        assert outcome.code == 1
        assert record["about"]["own_head"] is False
        assert sum(row["count"] for row in record["proved"]) == V
        fault = f"ABOUT ANOTHER HEAD than the model's own: {difference}"
        assert [one.startswith(fault) for one in record["faults"]] == [True]
        text = reach("verify", run, "--quiet", *where).out
        assert f"\n  FAILED: {fault}" in text
        assert f"if this head is meant, say so with {' '.join(options)}\n" in text
    outcome, record = about(run, *options)
    assert outcome.code == 0
    assert record["about"]["own_head"] is False
    assert f"overrides   {' '.join(options)}; the model's own head is another" in reach("verify", run, *options).out


def test_what_was_left_out_of_the_head_is_noted(tmp_path: Path) -> None:
    """Here β, which the manifest leaves out: verify says so as the scan did."""
    config = {"model_type": "novel", "architectures": ["NovelForCausalLM"], "norm_eps": 1e-5}
    tensors = {"out__weight": rows(1), "ln_f__weight": np.ones(D, np.float32), "ln_f__bias": rows(3)[0]}
    model = save_model(tmp_path / "novel", config, **tensors)
    options = ("--weight-tensor", "out.weight", "--norm", "layernorm", "--gamma-tensor", "ln_f.weight")
    run = scanned(model, *options)
    outcome, record = about(run)
    assert "left out of the head, though stored with its final norm: ln_f.bias" in record["about"]["notes"][0]
    assert outcome.err == f"reach: note: {record['about']['notes'][0]}\n"


def test_only_some_of_the_overrides_are_said(gpt2: Path) -> None:
    run = scanned(gpt2, "--beta-tensor", "none", "--gamma-tensor", "none")
    assert about(run, "--beta-tensor", "none")[0].code == 1
    assert about(run, "--beta-tensor", "none", "--gamma-tensor", "none")[0].code == 0


def test_what_is_said_is_not_what_was_scanned(gpt2: Path) -> None:
    run = scanned(gpt2)
    assert "this run is of another model" in reach("verify", run, "--beta-tensor", "none").complaint
    assert "this run is over ball:2, not ball:3" in reach("verify", run, "--domain", "ball:3").complaint


@pytest.fixture
def normless(tmp_path: Path) -> Path:
    """A model without a final norm."""
    config = {"model_type": "opt", "architectures": ["OPTForCausalLM"], "word_embed_proj_dim": D}
    config |= {"num_hidden_layers": 1, "_remove_final_layer_norm": True}
    return save_model(tmp_path / "opt", config, model__decoder__embed_tokens__weight=rows(1))


@pytest.mark.parametrize("domain", [(), ("--domain", "norm")])
def test_a_norm_that_the_model_does_not_have(normless: Path, domain: tuple[str, ...]) -> None:
    options = ("--norm", "layernorm", "--gamma-tensor", "none", "--beta-tensor", "none")
    run = scanned(normless, *options, *domain)
    outcome, record = about(run)
    assert outcome.code == 1
    assert record["about"]["own_head"] is False
    assert record["about"]["own"]["norm"] is None
    assert about(run, *options)[0].code == 0


def test_the_same_numbers_over_another_domain(normless: Path) -> None:
    """An RMSNorm without factors changes no number, but what z ranges over; that may only be chosen as such."""
    options = ("--norm", "rmsnorm", "--gamma-tensor", "none")
    run = scanned(normless, *options)
    outcome, record = about(run)
    assert outcome.code == 1
    assert record["about"]["own_head"] is False
    assert "no norm" in record["faults"][0]
    shutil.rmtree(run)
    scanned(normless, *options, "--domain", "ball:2")
    outcome, record = about(run)
    assert outcome.code == 0
    assert record["about"]["own_head"] is True
    assert "ball:2; the model's own is free" in reach("verify", run, "--quiet").out


# --- no head of its own --------------------------------------------------------------------------------------------


def test_an_unknown_architecture_has_no_own_head_to_compare_with(llama: Path) -> None:
    config = json.loads((llama / "config.json").read_text()) | {"model_type": "megabrain"}
    (llama / "config.json").write_text(json.dumps(config))
    by_hand = ("--weight-tensor", "model.embed_tokens.weight", "--norm", "rmsnorm")
    run = scanned(llama, *by_hand, "--gamma-tensor", "model.norm.weight")
    outcome, record = about(run)
    assert outcome.code == 0
    assert (record["about"]["own_head"], record["about"]["own"]) == (None, None)
    assert "unknown architecture megabrain" in record["about"]["reason"]
    assert "the model's own head is not known: " in reach("verify", run, "--quiet").out


def test_an_own_head_that_contradicts_itself_must_be_named(tmp_path: Path) -> None:
    """The config says tied, the matrices differ: which one is the head is for whoever verifies to say."""
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": True}
    model = save_model(
        tmp_path / "odd", config, model__embed_tokens__weight=rows(1), lm_head__weight=rows(2),
        model__norm__weight=np.ones(D, np.float32),
    )  # fmt: skip
    run = scanned(model, "--weight-tensor", "model.embed_tokens.weight")
    outcome, record = about(run)
    assert outcome.code == 1
    assert record["about"]["own_head"] is None
    assert "differ (first in row 0)" in record["faults"][0]
    assert about(run, "--weight-tensor", "model.embed_tokens.weight")[0].code == 0


def test_a_bare_head_has_nothing_of_its_own(tmp_path: Path) -> None:
    head = save_head(tmp_path / "head.npz", rows(1), gamma=np.ones(D), beta=np.ones(D))
    run = tmp_path / "run"
    assert reach("scan", "--head", head, "--out", run, "--quiet", "--no-report").code == 0
    outcome, record = about(run)
    assert outcome.code == 0
    assert record["about"]["own_head"] is None
    assert record["about"]["tensors"] == {"weight": "W", "gamma": "gamma", "beta": "beta"}
    shutil.rmtree(run)
    # What the file says by itself, a LayerNorm, is not what was scanned.
    assert reach("scan", "--head", head, "--norm", "rmsnorm", "--out", run, "--quiet", "--no-report").code == 0
    assert about(run)[0].code == 1
    assert about(run, "--norm", "rmsnorm")[0].code == 0


# --- what else the manifest says -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("v", V + 1), ("d", D - 1), ("v", None), ("kind", "solvers"), ("zero_offset", True), ("zero_offset", None),
        ("squared_radius", 4.5), ("squared_radius", None),
        ("head.architecture", "LlamaForCausalLM"), ("head.norm", "rmsnorm"), ("head.norm", None), ("head.eps", 1e-6),
        ("head.eps", None), ("head.tie", "untied: lm_head.weight serves"), ("head.dtype", "bfloat16"),
        ("head.tensors", {"weight": "transformer.wte.weight"}), ("head.tensors", {}), ("head", None),
        ("head", "gpt2"),
    ],
)  # fmt: skip
def test_an_entry_that_is_not_true_of_the_model(run: Path, name: str, value: object) -> None:
    entry, _, part = name.partition(".")
    change_manifest(run, **{entry: {**manifest_of(run)["head"], part: value} if part else value})
    outcome, record = about(run)
    assert outcome.code == 1
    assert any(f"its {name} is" in fault for fault in record["faults"]), record["faults"]
    assert f"FAILED: manifest.json: its {name} is" in reach("verify", run, "--quiet").out


def test_an_entry_that_is_missing(run: Path) -> None:
    change_manifest(run, head={})
    outcome, record = about(run)
    assert outcome.code == 1
    parts = ("architecture", "norm", "eps", "tie", "dtype", "tensors")
    assert [fault.split(" is ")[0] for fault in record["faults"]] == [f"manifest.json: its head.{n}" for n in parts]


def test_what_is_not_checked_is_named(run: Path) -> None:
    before = manifest_of(run)
    change_manifest(run, seconds=1e9, command=["rm"], hardware="abacus", more=1, head={**before["head"], "more": 1})
    outcome, record = about(run)
    assert outcome.code == 0
    unchecked = record["unchecked"]["manifest.json"]
    assert {"seconds", "command", "hardware", "more", "head.more", "versions", "funnel", "settings"} <= set(unchecked)
    assert not {"v", "d", "kind", "zero_offset", "domain", "fingerprint", "totals", "head.eps"} & set(unchecked)
    assert "row_norm" in record["unchecked"]["verdicts.parquet"]
    text = reach("verify", run, "--quiet").out
    assert "\n  not checked in manifest.json " in text
    change_manifest(run, head={**before["head"], "revision": "f" * 40})
    assert "head.revision" in about(run)[1]["unchecked"]["manifest.json"]


@pytest.mark.parametrize(
    ("loading", "reason"),
    [
        ("all of it", "got `str` - at `$.loading`"),
        ([], "got `array` - at `$.loading`"),
        ({"model": 3}, "got `int` - at `$.loading.model`"),
        ({"overrides": ["beta"]}, "got `array` - at `$.loading.overrides`"),
        ({"overrides": {"delta_tensor": "x"}}, "loading.overrides.delta_tensor is not known"),
        ({"overrides": {"eps": "small"}}, "got `str` - at `$.loading.overrides.eps`"),
        ({"overrides": {"eps": True}}, "got `bool` - at `$.loading.overrides.eps`"),
        ({"overrides": {"norm": 1}}, "got `int` - at `$.loading.overrides.norm`"),
        ({"domain": 4}, "got `int` - at `$.loading.domain`"),
    ],
)
def test_a_loading_entry_that_makes_no_sense(run: Path, loading: object, reason: str) -> None:
    whole = {**manifest_of(run)["loading"], **loading} if isinstance(loading, dict) else loading
    change_manifest(run, loading=whole)
    for arguments in (("verify", run), ("interference", "--out", run), ("search", "--run", run)):
        message = reach(*arguments).complaint
        assert reason in message
        assert str(run / "manifest.json") in message
