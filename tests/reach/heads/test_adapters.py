"""An adapter beside a model: refused where it changes the head, merged or ignored when asked, never lost unseen."""

from __future__ import annotations

import json
from fractions import Fraction
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
from reach_command import manifest_of, reach
from safetensors.torch import load_file
from tiny_adapters import RANK, low_rank, save_adapter, whole
from tiny_models import D, V, build, edit_config, edit_tensors

from reach.heads.load import load_head
from reach.heads.overrides import HeadOverrides
from reach.heads.projection import add_low_rank, fold_projection
from reach.heads.self_check import self_check
from reach.interference.matrices import EMBEDDING, spaces_of
from solvers.errors import BadInput

Q_PROJ = low_rank("model.layers.0.self_attn.q_proj", D, D)
HEAD = low_rank("lm_head", V, D)
NORM = whole("model.norm.weight", D)


@pytest.fixture
def untied(tmp_path: Path) -> Path:
    return build("llama", tmp_path / "model", tied=False)


@pytest.fixture
def tied(tmp_path: Path) -> Path:
    return build("llama", tmp_path / "model", tied=True)


def complaint(folder: Path, **options: Any) -> str:
    with pytest.raises(BadInput) as caught:
        load_head(str(folder), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- does it change the head? ---------------------------------------------------------------------------------------


def test_an_adapter_that_leaves_the_head_alone_is_a_note(untied: Path) -> None:
    alone = load_head(str(untied))
    save_adapter(untied, Q_PROJ)
    for choice in (None, "merge"):
        head = load_head(str(untied), adapter=choice)  # type: ignore[arg-type]
        assert head.problem().fingerprint == alone.problem().fingerprint
        assert head.merged is None
        assert head.notes == (f"{untied}/adapter_config.json: the adapter beside the model does not change its head",)


@pytest.mark.parametrize(
    "tensors",
    [
        HEAD,
        NORM,
        whole("lm_head.weight", V, D),
        whole("lm_head.modules_to_save.weight", V, D),
        {"base_model.model.lm_head.lora_magnitude_vector": torch.ones(V)},
        whole("lm_head.bias", V),
        whole("model.language_model.norm.weight", D),
    ],
    ids=lambda tensors: next(iter(tensors)).removeprefix("base_model.model."),
)
def test_its_own_tensors_say_that_it_changes_the_head(tensors: dict[str, torch.Tensor], untied: Path) -> None:
    save_adapter(untied, Q_PROJ | tensors)
    message = complaint(untied)
    assert f"the adapter beside the model changes its head ({next(iter(tensors))}" in message
    assert "--adapter merge" in message
    assert "--adapter ignore" in message


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"target_modules": ["q_proj", "lm_head"]}, "target_modules lm_head"),
        ({"target_modules": r".*\.(q_proj|norm)"}, r"target_modules .*\.(q_proj|norm)"),
        ({"target_modules": "("}, "target_modules ("),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save lm_head"),
        ({"modules_to_save": ["norm"]}, "modules_to_save norm"),
        ({"target_parameters": ["lm_head.weight"]}, "target_parameters lm_head.weight"),
        ({"trainable_token_indices": {"lm_head": [1, 2]}}, "trainable_token_indices lm_head"),
    ],
)
def test_its_config_says_that_it_changes_the_head(settings: dict[str, Any], named: str, untied: Path) -> None:
    save_adapter(untied, Q_PROJ, **settings)
    assert f"changes its head (its {named})" in complaint(untied)


EMBEDDED = {
    "a LoRA": ({"base_model.model.model.embed_tokens.lora_embedding_A": torch.ones(RANK, V)}, {}),
    "as a whole": (whole("model.embed_tokens.weight", V, D), {}),
    "rows of it": (
        {"base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta": torch.ones(2, D)},
        {},
    ),
    "modules_to_save": (Q_PROJ, {"modules_to_save": ["embed_tokens"]}),
    "target_modules": (Q_PROJ, {"target_modules": ["embed_tokens"]}),
    "trainable rows": (Q_PROJ, {"trainable_token_indices": [3, 4]}),
    "trainable rows by name": (Q_PROJ, {"trainable_token_indices": {"embed_tokens": [3, 4]}}),
}


@pytest.mark.parametrize("form", EMBEDDED)
def test_the_embedding_counts_where_it_is_the_head_too(form: str, tmp_path: Path) -> None:
    tensors, settings = EMBEDDED[form]
    tied = build("llama", tmp_path / "tied", tied=True)
    untied = build("llama", tmp_path / "untied", tied=False)
    for folder in (tied, untied):
        save_adapter(folder, tensors, **settings)
    assert "changes its head" in complaint(tied)
    assert "does not change its head" in load_head(str(untied)).notes[0]
    assert "cannot be merged into the head here" in complaint(tied, adapter="merge")


def test_an_adapter_whose_tensors_cannot_be_seen(untied: Path) -> None:
    save_adapter(untied, None)
    message = complaint(untied)
    assert "has no adapter_model.safetensors, so what the adapter of" in message
    (untied / "adapter_model.bin").write_bytes(b"pickled")
    assert "only adapter_model.bin, which is never read" in complaint(untied)
    assert load_head(str(untied), adapter="ignore").merged is None


@pytest.mark.parametrize("text", ["{", "[]"])
def test_an_adapter_config_that_cannot_be_read(text: str, untied: Path) -> None:
    save_adapter(untied, Q_PROJ)
    (untied / "adapter_config.json").write_text(text)
    assert complaint(untied).startswith(f"{untied}/adapter_config.json ")
    assert "as asked" in load_head(str(untied), adapter="ignore").notes[0]


@pytest.mark.parametrize("with_config", [True, False])
def test_a_folder_with_only_an_adapter(with_config: bool, tmp_path: Path) -> None:
    folder = build("llama", tmp_path, tied=False)
    (folder / "model.safetensors").unlink()
    if not with_config:
        (folder / "config.json").unlink()
    save_adapter(folder, Q_PROJ)
    assert complaint(folder).startswith(
        f"{folder} holds an adapter of org/base and no model: merge it into its model"
    )


def test_a_merge_without_an_adapter(untied: Path, tmp_path: Path) -> None:
    assert complaint(untied, adapter="merge") == f"--adapter merge: {untied} has no adapter_config.json"
    assert load_head(str(untied), adapter="ignore").notes == ()
    outcome = reach("scan", untied, "--adapter", "both", "--out", tmp_path / "run")
    assert outcome.complaint == (
        "--adapter both: no such folder: choose merge or ignore for the adapter beside the model, or give the folder "
        "of another one, which holds adapter_config.json"
    )


# --- merging --------------------------------------------------------------------------------------------------------


def exact_change(folder: Path, scale: Fraction, row: int) -> list[Fraction]:
    """W + s·B·A in rational numbers."""
    base, adapter = load_file(folder / "model.safetensors"), load_file(folder / "adapter_model.safetensors")
    w = [Fraction(x) for x in base["lm_head.weight"][row].double().tolist()]
    b = [Fraction(x) for x in adapter["base_model.model.lm_head.lora_B.weight"][row].double().tolist()]
    a = [[Fraction(x) for x in line] for line in adapter["base_model.model.lm_head.lora_A.weight"].double().tolist()]
    return [w[j] + scale * sum(b[k] * a[k][j] for k in range(len(b))) for j in range(len(w))]


SCALES = {
    "plain": ({}, Fraction(6, RANK)),
    "not a number of bits": ({"lora_alpha": 7}, Fraction(7 / RANK)),
    "rslora": ({"use_rslora": True}, Fraction(6 / sqrt(RANK))),
    "patterns": (
        {"r": 9, "rank_pattern": {"lm_head": RANK}, "alpha_pattern": {"q_proj": 5, "lm_.*": 12}},
        Fraction(12, RANK),
    ),
    "anchored pattern": ({"alpha_pattern": {"^lm_head": 12, "lm_head": 1}}, Fraction(12, RANK)),
    "of another module": ({"alpha_pattern": {"head": 12, "m_head": 1}}, Fraction(6, RANK)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("form", SCALES)
def test_a_merged_lora_is_within_its_bound_of_the_exact_sum(form: str, dtype: torch.dtype, tmp_path: Path) -> None:
    settings, scale = SCALES[form]
    folder = build("llama", tmp_path, tied=False, dtype=dtype)
    save_adapter(folder, Q_PROJ | HEAD, target_modules=["q_proj", "lm_head"], **settings)
    head = load_head(str(folder), adapter="merge")
    assert head.weight_error is not None
    assert head.notes == ()
    for row in range(0, V, 7):
        exact = exact_change(folder, scale, row)
        squared = sum((x - Fraction(y)) ** 2 for x, y in zip(exact, head.weight[row].tolist(), strict=True))
        assert squared <= Fraction(float(head.weight_error[row])) ** 2
        assert 0 < float(head.weight_error[row]) < 1e-13
    assert head.problem().row_error.min() > 0
    assert f"a LoRA of rank {RANK} and scale {float(scale):g} added to lm_head" in head.tie
    assert head.dtype == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("scale", [2.0**-40, 1.0, 2.0**40])
@pytest.mark.parametrize("shape", [(5, 64, 16), (3, 512, 64)])
def test_the_bound_of_a_low_rank_change_holds_where_terms_cancel(shape: tuple[int, int, int], scale: float) -> None:
    """W is the float64 neighbour of −s·B·A: what is left is all rounding."""
    v, d, r = shape
    generator = torch.Generator().manual_seed(r)
    left = torch.randn(v, r, generator=generator, dtype=torch.float64)
    right = torch.randn(r, d, generator=generator, dtype=torch.float64)
    weight = -scale * (left @ right)
    total, error = add_low_rank(weight, scale, left, right)
    largest = 0.0
    for row in range(v):
        b = [Fraction(x) for x in left[row].tolist()]
        squared = Fraction(0)
        for column in range(0, d):
            a = [Fraction(x) for x in right[:, column].tolist()]
            exact = Fraction(float(weight[row, column])) + Fraction(scale) * sum(
                x * y for x, y in zip(b, a, strict=True)
            )
            squared += (exact - Fraction(float(total[row, column]))) ** 2
        largest = max(largest, float(squared) ** 0.5 / float(error[row]))
    assert 1e-3 < largest <= 1


@pytest.mark.parametrize("size", [1e-160, 1e-100, 1.0])
def test_bounds_of_computed_rows_hold_where_squares_underflow(size: float) -> None:
    """Products near the smallest numbers: what they lose is counted, and so are lengths whose squares vanish."""
    generator = torch.Generator().manual_seed(5)
    left = torch.randn(3, 8, generator=generator, dtype=torch.float64) * size
    right = torch.randn(8, 6, generator=generator, dtype=torch.float64) * size
    weight = -0.75 * (left @ right)
    product, product_error = fold_projection(left, right)
    total, total_error = add_low_rank(weight, 0.75, left, right)
    a = [[Fraction(x) for x in line] for line in right.tolist()]
    for row in range(3):
        b = [Fraction(x) for x in left[row].tolist()]
        exact = [sum(b[k] * a[k][column] for k in range(8)) for column in range(6)]
        w = [Fraction(x) for x in weight[row].tolist()]
        off = sum((x - Fraction(y)) ** 2 for x, y in zip(exact, product[row].tolist(), strict=True))
        assert off <= Fraction(float(product_error[row])) ** 2
        changed = [x + Fraction(0.75) * y for x, y in zip(w, exact, strict=True)]
        off = sum((x - Fraction(y)) ** 2 for x, y in zip(changed, total[row].tolist(), strict=True))
        assert off <= Fraction(float(total_error[row])) ** 2
        assert float(total_error[row]) < 1e-13 * size**2 + 1e-300


def test_rows_that_the_lora_leaves_alone_are_exact(untied: Path) -> None:
    tensors = {name: tensor.clone() for name, tensor in HEAD.items()}
    tensors["base_model.model.lm_head.lora_B.weight"][3] = 0
    save_adapter(untied, tensors)
    head = load_head(str(untied), adapter="merge")
    assert head.weight_error is not None
    assert float(head.weight_error[3]) == 0
    assert torch.equal(head.weight[3], load_head(str(untied), adapter="ignore").weight[3].double())


def test_equal_rows_stay_equal_only_where_the_change_is_equal_too(untied: Path, tmp_path: Path) -> None:
    """Tokens 4 and 5, and 6 and 7, have equal rows; the adapter pulls 6 and 7 apart."""
    tensors = {name: tensor.clone() for name, tensor in HEAD.items()}
    tensors["base_model.model.lm_head.lora_B.weight"][5] = tensors["base_model.model.lm_head.lora_B.weight"][4]

    def equal_rows(stored: dict[str, torch.Tensor]) -> None:
        stored["lm_head.weight"][5], stored["lm_head.weight"][7] = (
            stored["lm_head.weight"][4].clone(),
            stored["lm_head.weight"][6].clone(),
        )

    edit_tensors(untied, equal_rows)
    save_adapter(untied, tensors)
    outcome = reach(
        "scan", untied, "--adapter", "merge", "--out", tmp_path / "run", "--quiet", "--no-report", "--json"
    )
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["totals"]["verdicts"]["tied"] == 2


def test_whole_tensors_take_the_place_of_the_models_own(untied: Path) -> None:
    """Without a LoRA nothing is computed, so nothing is rounded."""
    matrix, norm = whole("lm_head.weight", V, D), NORM
    save_adapter(untied, matrix | norm, modules_to_save=["lm_head", "norm"])
    head = load_head(str(untied), adapter="merge")
    assert torch.equal(head.weight, *matrix.values())
    assert head.gamma is not None
    assert torch.equal(head.gamma, *norm.values())
    assert head.weight_error is None
    assert head.tie.endswith("adapter merged: lm_head.weight replaced, model.norm.weight replaced")


def test_a_lora_is_added_to_the_matrix_that_came_with_it(untied: Path) -> None:
    matrix = whole("lm_head.base_layer.weight", V, D)
    save_adapter(untied, matrix | HEAD)
    head = load_head(str(untied), adapter="merge")
    expected = next(iter(matrix.values())).double() + 2 * (
        HEAD["base_model.model.lm_head.lora_B.weight"].double()
        @ HEAD["base_model.model.lm_head.lora_A.weight"].double()
    )
    assert torch.allclose(head.weight, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "adapter"),
    [
        ("llama", HEAD),
        ("llama", HEAD | NORM),
        ("llama", whole("lm_head.weight", V, D) | NORM),
        ("llama-tied", HEAD),
        ("gpt2", HEAD | whole("transformer.ln_f.bias", D) | whole("transformer.ln_f.weight", D)),
        ("ctrl", HEAD | whole("lm_head.bias", V)),
        ("gemma2", whole("model.norm.weight", D)),
        ("granite", HEAD),
    ],
)
def test_the_merged_head_is_that_of_the_model_with_its_adapter_beside_it(
    name: str, adapter: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """The live model runs the adapter as PEFT does, x·Wᵀ + s·(x·Aᵀ)·Bᵀ, and gives the logits of the merged head."""
    folder = build(name.removesuffix("-tied"), tmp_path, tied=name.endswith("-tied"))
    save_adapter(folder, adapter)
    head = load_head(str(folder), adapter="merge")
    report = self_check(head, folder)
    assert report.ok, report.sentence
    alone = load_head(str(folder), adapter="ignore")
    assert "as asked" in alone.notes[0]
    assert self_check(alone, folder).ok
    assert alone.problem().fingerprint != head.problem().fingerprint


REFUSED = {
    "DoRA": (
        HEAD | {"base_model.model.lm_head.lora_magnitude_vector": torch.ones(V)},
        {"use_dora": True},
        "use_dora",
    ),
    "only its vector": (
        HEAD | {"base_model.model.lm_head.lora_magnitude_vector": torch.ones(V)},
        {},
        "lora_magnitude_vector cannot be",
    ),
    "bias of B": (HEAD | whole("lm_head.lora_B.bias", V), {"lora_bias": True}, "lora_bias"),
    "aLoRA": (HEAD, {"alora_invocation_tokens": [1]}, "alora_invocation_tokens"),
    "unheard of": (HEAD, {"use_something_new": True}, "use_something_new"),
    "PiSSA": (HEAD, {"init_lora_weights": "pissa_niter_4"}, "init_lora_weights pissa_niter_4 changes"),
    "LoftQ": (HEAD, {"init_lora_weights": "loftq"}, "init_lora_weights loftq changes"),
    "another kind": (HEAD, {"peft_type": "LOHA"}, "of the kind LOHA"),
    "half": (dict([next(iter(HEAD.items()))]), {}, "only one half of a LoRA"),
    "another rank": (HEAD, {"r": 4}, "gives lm_head the rank 4, but its tensors have rank 3"),
    "no alpha": (HEAD, {"lora_alpha": None}, "lora_alpha for lm_head is None"),
    "another width": (low_rank("lm_head", V, D + 1), {}, "do not fit lm_head.weight"),
    "another vocabulary": (whole("lm_head.weight", V + 4, D), {}, f"has shape ({V + 4}, {D})"),
    "two matrices": (
        whole("lm_head.weight", V, D) | whole("lm_head.base_layer.weight", V, D),
        {},
        "one and the same",
    ),
    "a bias of its own": (HEAD | whole("lm_head.bias", V), {}, "but the model has nothing there"),
    "a norm's LoRA": (low_rank("model.norm", D, 1), {}, "cannot be merged here"),
    "no tensors": (Q_PROJ, {"modules_to_save": ["lm_head"]}, "but it holds no tensors for it"),
    "two adapters": (
        HEAD | {name.replace(".weight", ".default.weight"): tensor.clone() for name, tensor in HEAD.items()},
        {},
        "one and the same part",
    ),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_is_not_a_plain_lora_is_not_merged(form: str, untied: Path) -> None:
    tensors, settings, reason = REFUSED[form]
    save_adapter(untied, tensors, **settings)
    message = complaint(untied, adapter="merge")
    assert "this adapter cannot be merged into the head here" in message
    assert reason in message
    assert load_head(str(untied), adapter="ignore").merged is None


def test_damaged_numbers_of_an_adapter(untied: Path) -> None:
    broken = {name: torch.full_like(tensor, torch.nan) for name, tensor in HEAD.items()}
    save_adapter(untied, broken)
    assert "lora_B.weight holds NaN or Inf" in complaint(untied, adapter="merge")


def test_a_head_with_a_projection(tmp_path: Path) -> None:
    folder = build("opt-350m", tmp_path)
    save_adapter(folder, low_rank("lm_head", V, 8))
    assert "a LoRA on a head with a projection" in complaint(folder, adapter="merge")
    save_adapter(folder, whole("model.decoder.project_out.weight", 8, D))
    assert "changes its head" in complaint(folder)
    assert "project_out.weight cannot be merged here" in complaint(folder, adapter="merge")


def test_a_head_that_is_pointed_at_by_hand(untied: Path) -> None:
    known = HeadOverrides(weight_tensor="lm_head.weight", norm="rmsnorm", gamma_tensor="model.norm.weight")
    save_adapter(untied, HEAD | NORM)
    merged = load_head(str(untied), adapter="merge")
    edit_config(untied, model_type="novel")
    assert "changes its head" in complaint(untied, overrides=known)
    again = load_head(str(untied), overrides=known, adapter="merge")
    assert again.problem().fingerprint == merged.problem().fingerprint


# --- through the command --------------------------------------------------------------------------------------------


def test_scan_and_verify_agree_on_what_was_merged(untied: Path, tmp_path: Path) -> None:
    save_adapter(untied, HEAD | NORM)
    run = tmp_path / "run"
    refused = reach("scan", untied, "--out", run, "--quiet")
    assert "changes its head" in refused.complaint
    assert not run.exists()
    for choice in ("merge", "ignore"):
        outcome = reach("scan", untied, "--adapter", choice, "--out", run, "--quiet", "--no-report", "--force")
        assert outcome.code == 0, outcome.err
        assert manifest_of(run)["loading"]["adapter"] == choice
        # Which of the two heads is meant is for whoever verifies to say: the manifest's word is not enough.
        unsaid = reach("verify", run, "--quiet")
        assert unsaid.code == 1
        assert f"if this head is meant, say so with --adapter {choice}\n" in unsaid.out
        verified = reach("verify", run, "--quiet", "--adapter", choice)
        assert verified.code == 0, verified.err + verified.out
        other = {"merge": "ignore", "ignore": "merge"}[choice]
        assert "this run is of another model" in reach("verify", run, "--quiet", "--adapter", other).complaint
    assert "ignored, as asked" in outcome.err
    assert any("ignored, as asked" in warning for warning in manifest_of(run)["warnings"])


def test_an_adapter_elsewhere_leaves_the_models_own_head_as_it_is(untied: Path, tmp_path: Path) -> None:
    save_adapter(untied, low_rank("model.layers.0.self_attn.q_proj", D, D))
    run = tmp_path / "run"
    assert reach("scan", untied, "--adapter", "ignore", "--out", run, "--quiet", "--no-report").code == 0
    outcome = reach("verify", run, "--quiet")
    assert outcome.code == 0, outcome.out
    assert "--adapter ignore, which change nothing: this is the model's own head" in outcome.out


def test_a_run_of_the_merged_head_is_not_one_of_the_model_alone(untied: Path, tmp_path: Path) -> None:
    save_adapter(untied, HEAD)
    run = tmp_path / "run"
    assert reach("scan", untied, "--adapter", "merge", "--out", run, "--quiet", "--no-report").code == 0
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (untied / name).unlink()
    assert "has no adapter_config.json" in reach("verify", run, "--quiet").complaint


def test_interference_and_search_say_which_model_they_are_about(untied: Path, tmp_path: Path) -> None:
    save_adapter(untied, HEAD)
    parts = "blocks,dictionary,reinitialised,controls"
    out = ("--out", tmp_path / "run", "--adapter")
    outcome = reach("interference", untied, *out, "ignore", "--seeds", 0, "--without", parts, "--quiet")
    assert outcome.code == 0, outcome.err
    assert "ignored, as asked" in outcome.err
    assert "without the adapter beside it" in reach("search", untied, *out, "merge", "--quiet").complaint


def test_the_input_embedding_of_a_tied_model_is_not_its_merged_head(tied: Path) -> None:
    save_adapter(tied, HEAD)
    measured = spaces_of(load_head(str(tied), adapter="merge"))
    assert EMBEDDING in measured.rows
    assert "ties" in spaces_of(load_head(str(tied), adapter="ignore")).left_out[EMBEDDING]
