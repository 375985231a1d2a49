"""Heads learnt from tiny random models of their class: right, or refused with what was seen."""

from __future__ import annotations

import importlib
import json
import resource
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
import transformers
from safetensors import safe_open
from torch import nn

from reach.heads.architectures import known_architectures, layout_of
from reach.heads.config import read_config
from reach.heads.load import load_head
from reach.heads.twin import layout as twins
from reach.heads.twin.learn import NotUnderstood, learn
from reach.heads.twin.names import LAST, stored_as
from reach.heads.twin.norms import norm_of
from reach.heads.twin.shrink import shrunk
from solvers.errors import BadInput

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def zoo() -> Any:
    """scripts/model_zoo.py, which looks at every class; here at one in ten."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        yield importlib.import_module("model_zoo")
    sys.modules.pop("model_zoo", None)


# --- every tenth class ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "share"), [("causal", 0.9), ("seq2seq", 0.7), ("masked", 0.7), ("image-text", 0.4)])
def test_of_every_tenth_class_none_is_read_wrongly(zoo: Any, task: str, share: float) -> None:
    found = [zoo.look_at(task, name) for name in sorted(zoo.classes(task))[::10]]
    assert [one for one in found if one.result in ("wrong", "not run")] == []
    assert sum(one.result == "right" for one in found) >= share * len(found)
    assert all(one.words for one in found)


def test_the_table_is_of_every_class(zoo: Any) -> None:
    page = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| ") and "For" in line]
    assert {result.strip() for _, result in rows} <= {"right", "refused", "not built"}
    version = transformers.__version__
    if f"transformers {version}" in page:
        assert {name.strip() for name, _ in rows} >= {name for name in zoo.classes("causal") if "For" in name}


# --- entries and twins agree ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(tiny_models.CONFIGS))
def test_an_entry_says_what_a_twin_shows(name: str, tmp_path: Path) -> None:
    folder = tiny_models.build(name, tmp_path / "model")
    config = read_config(folder / "config.json")
    entry = layout_of(config)
    assert entry is not None
    head = load_head(str(folder))
    with safe_open(folder / "model.safetensors", "pt") as file:
        learnt = twins.twin_layout(config, tuple(file.keys()))
    assert learnt.norm == entry.norm
    assert learnt.learnt is not None
    assert learnt.learnt.rows == head.v
    assert learnt.learnt.eps == head.eps
    assert learnt.learnt.softcap == head.softcap
    assert learnt.learnt.factor * head.d**learnt.learnt.power == pytest.approx(head.logit_scale)
    for role, names in (("gamma", learnt.gamma), ("beta", learnt.beta), ("projection", learnt.projection)):
        assert (names[0] if names else None) == head.tensors.get(role)


def test_all_entries_are_asked() -> None:
    assert set(known_architectures()) <= set(tiny_models.CONFIGS)


# --- what is no known form is refused ------------------------------------------------------------------------------

_SMALL = {"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 32}


class _Masked(transformers.GPT2LMHeadModel):
    def forward(self, **given: Any) -> Any:
        out = super().forward(**given)
        out.logits = out.logits.clone()
        out.logits[..., 3] = -1e4
        return out


class _Normalised(transformers.GPT2LMHeadModel):
    def forward(self, **given: Any) -> Any:
        out = super().forward(**given)
        out.logits = out.logits.log_softmax(dim=-1)
        return out


class _TurnedAround(transformers.GPT2LMHeadModel):
    def forward(self, **given: Any) -> Any:
        out = super().forward(**given)
        out.logits = -out.logits
        return out


class _ByWidth(transformers.GPT2LMHeadModel):
    """As T5 does: divided by the root of the width."""

    def forward(self, **given: Any) -> Any:
        out = super().forward(**given)
        out.logits = out.logits * self.config.n_embd**-0.5
        return out


class _Squared(transformers.GPT2LMHeadModel):
    def forward(self, **given: Any) -> Any:
        out = super().forward(**given)
        out.logits = out.logits * out.logits.abs()
        return out


class _Lifted(transformers.GPT2LMHeadModel):
    """Adds a vector that is no parameter."""

    def forward(self, **given: Any) -> Any:
        out = super().forward(**given)
        out.logits = out.logits + torch.linspace(0, 1, out.logits.shape[-1]).to(out.logits)
        return out


@pytest.mark.parametrize("kind", [_Masked, _Normalised, _TurnedAround, _Squared, _Lifted])
def test_logits_of_no_known_form_are_refused(kind: Any) -> None:
    with pytest.raises(NotUnderstood, match="are not the products"):
        learn(kind, transformers.GPT2Config(**_SMALL).to_dict())


def test_a_factor_is_learnt_as_it_goes_with_the_width() -> None:
    found = learn(_ByWidth, transformers.GPT2Config(**{**_SMALL, "n_embd": 96, "n_head": 3}).to_dict())
    assert (found.factor, found.power) == (pytest.approx(1.0, abs=1e-6), -0.5)


# --- norms ---------------------------------------------------------------------------------------------------------


class _Rms(nn.Module):
    def __init__(self, d: int, eps: float, plus: float = 0.0) -> None:
        super().__init__()
        self.weight, self.eps, self.plus = nn.Parameter(torch.randn(d).double()), eps, plus

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.plus + self.weight) * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)


def _layer_norm(eps: float, *, affine: bool = True, bias: bool = True) -> nn.Module:
    norm = nn.LayerNorm(8, eps=eps, elementwise_affine=affine, bias=bias).double()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return norm


@pytest.mark.parametrize(
    ("module", "form", "eps", "gamma", "beta"),
    [
        (lambda: _layer_norm(1e-5), "layernorm", 1e-5, "weight", "bias"),
        (lambda: _layer_norm(1e-12), "layernorm", 1e-12, "weight", "bias"),
        (lambda: _layer_norm(1e-6, bias=False), "layernorm", 1e-6, "weight", None),
        (lambda: _layer_norm(1e-5, affine=False), "layernorm", 1e-5, None, None),
        (lambda: _Rms(8, 1e-6), "rmsnorm", 1e-6, "weight", None),
        (lambda: _Rms(8, 1e-5, plus=1.0), "rmsnorm+1", 1e-5, "weight", None),
    ],
)
def test_a_norm_is_told_by_what_it_does(
    module: Any, form: str, eps: float, gamma: str | None, beta: str | None
) -> None:
    torch.manual_seed(0)
    found = norm_of(module(), torch.randn(5, 8, dtype=torch.float64), torch.float64)
    assert found is not None
    assert (found.form, found.eps, found.gamma, found.beta) == (form, eps, gamma, beta)


@pytest.mark.parametrize(
    "module",
    [
        nn.Identity(),
        nn.Dropout(),
        nn.Linear(8, 8).double(),
        nn.GroupNorm(2, 8).double(),
        nn.Tanh(),
        _Rms(8, 1e-6, plus=0.5),
        nn.Bilinear(8, 8, 8),
    ],
    ids=lambda module: type(module).__name__,
)
def test_what_is_no_norm_is_told_from_one(module: nn.Module) -> None:
    torch.manual_seed(0)
    assert norm_of(module, torch.randn(5, 8, dtype=torch.float64), torch.float64) is None


# --- small configs and names ---------------------------------------------------------------------------------------


def test_one_layer_of_each_kind_is_kept() -> None:
    kinds = ["full", "sliding", "sliding", "linear"] * 5
    entries = {"num_hidden_layers": 20, "layer_types": kinds, "mlp": ["dense"] + ["sparse"] * 19}
    for way, small in shrunk(entries):
        if "all layers" not in way:
            pairs = list(zip(small["layer_types"], small["mlp"], strict=True))
            assert len(pairs) == small["num_hidden_layers"] < 7
            assert set(pairs) == set(zip(kinds, entries["mlp"], strict=True))


def test_widths_shrink_in_proportion() -> None:
    entries = {"hidden_size": 4096, "num_attention_heads": 32, "head_dim": 128, "vocab_size": 128256, "eps": 1e-5}
    _, small = next(shrunk(entries))
    assert small["hidden_size"] == small["num_attention_heads"] * small["head_dim"]
    assert small["hidden_size"] < 300
    assert small["vocab_size"] < 100
    assert small["eps"] == 1e-5


@pytest.mark.parametrize(
    ("live", "stored", "expected"),
    [
        ("lm_head.weight", ["a", "lm_head.weight"], ("lm_head.weight",)),
        (
            "model.language_model.norm.weight",
            ["language_model.model.norm.weight"],
            ("language_model.model.norm.weight",),
        ),
        ("bert.LayerNorm.weight", ["bert.LayerNorm.gamma"], ("bert.LayerNorm.gamma",)),
        (f"h.{LAST}.ln.weight", ["h.2.ln.weight", "h.11.ln.weight", "h.9.ln.weight"], ("h.11.ln.weight",)),
        (f"transformer.h.{LAST}.ln.weight", ["h.2.ln.weight", "h.3.ln.weight"], ("h.3.ln.weight",)),
        ("model.norm.weight", ["visual.norm.weight"], ()),
        ("model.norm.weight", ["model.model.norm.weight", "language_model.norm.weight"], ()),
    ],
)
def test_stored_names(live: str, stored: list[str], expected: tuple[str, ...]) -> None:
    assert stored_as(live, stored) == expected


def test_names_that_transformers_changes_when_loading() -> None:
    found = stored_as("lm_head.weight", ["embed_out.weight"], lambda name: name.replace("embed_out", "lm_head"))
    assert found == ("embed_out.weight",)


# --- keeping what was learnt ---------------------------------------------------------------------------------------


@pytest.fixture
def bloom(tmp_path: Path) -> Path:
    """A tiny model of a class without an entry."""
    torch.manual_seed(0)
    model = transformers.BloomForCausalLM(
        transformers.BloomConfig(vocab_size=90, hidden_size=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2)
    )
    model.save_pretrained(tmp_path / "bloom")
    return tmp_path / "bloom"


def test_what_was_learnt_is_kept(bloom: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = load_head(str(bloom))
    assert first.found_by.startswith("tiny BloomForCausalLM of transformers")
    monkeypatch.setattr(twins, "learn", lambda *_: pytest.fail("learnt again"))
    assert load_head(str(bloom)).tensors == first.tensors
    (kept,) = twins.cache_folder().iterdir()
    kept.write_text("no JSON")
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert load_head(str(bloom)).tensors == first.tensors


def test_another_config_is_learnt_anew(bloom: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert load_head(str(bloom)).eps == 1e-5
    path = bloom / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "layer_norm_epsilon": 1e-3}))
    assert load_head(str(bloom)).eps == 1e-3
    assert len(list(twins.cache_folder().iterdir())) == 2


def test_a_cache_that_cannot_be_written_costs_time_alone(
    bloom: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load_head(str(bloom)).norm == "layernorm"


def test_a_model_type_that_is_not_the_class_s(bloom: Path) -> None:
    path = bloom / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "flower"}))
    with pytest.raises(BadInput, match="its model_type is not that of BloomForCausalLM, bloom"):
        load_head(str(bloom))


@pytest.mark.parametrize(
    "changes",
    [
        {"n_layer": 10**9},
        {"n_layer": -3},
        {"n_layer": "many"},
        {"hidden_size": 10**12},
        {"hidden_size": 0},
        {"hidden_size": 7.5},
        {"vocab_size": 10**12},
        {"vocab_size": -1},
        {"n_head": 10**9},
        {"layer_norm_epsilon": -1.0},
        {"layer_norm_epsilon": "small"},
        {"text_config": {"num_hidden_layers": 10**8}},
        {"quantization_config": [1, 2]},
        {"rope_scaling": {"type": []}},
        {"architectures": ["BloomForCausalLM", 3]},
    ],
    ids=str,
)
def test_wild_configs_end_in_one_line(changes: dict[str, Any], bloom: Path) -> None:
    path = bloom / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        assert load_head(str(bloom)).v == 90  # what is wild may be none of the head's business
    except BadInput as error:
        assert "\n" not in str(error)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB
