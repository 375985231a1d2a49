"""Planted cases: each is reported rightly, and nothing else is. A linear program says what is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gate_models import END, EOS, NAMED, PAD, model, save
from reach_command import reach, save_head
from safetensors.torch import load_file
from scipy.optimize import linprog

from reach.gate import deciding


def check(folder: Path, *arguments: object) -> dict[str, Any]:
    done = reach("check", folder, "--json", *arguments)
    assert done.code in (0, 1), done.err
    record = json.loads(done.out)
    assert record["ok"] is (done.code == 0)
    return {**record, "by_token": {entry["token"]: entry for entry in record["tokens"]}}


def can_win(rows: np.ndarray, token: int) -> bool:
    """Whether some direction puts a row strictly above all others, by a linear program."""
    others = np.delete(rows, token, axis=0)
    d = rows.shape[1]
    differences = np.hstack([others - rows[token], np.ones((len(others), 1))])
    bounds = [(-1, 1)] * d + [(None, 1)]
    found = linprog([0] * d + [-1], A_ub=differences, b_ub=np.zeros(len(others)), bounds=bounds, method="highs")
    return bool(-found.fun > 1e-7)


def rows_of(folder: Path) -> np.ndarray:
    tensors = load_file(folder / "model.safetensors")
    head = tensors.get("lm_head.weight", tensors["model.embed_tokens.weight"])
    return (head * tensors["model.norm.weight"]).double().numpy()


def assert_right(folder: Path, record: dict[str, Any]) -> None:
    rows = rows_of(folder)
    for token, entry in record["by_token"].items():
        if entry["equal_to"]:
            equal = [other for other in range(len(rows)) if np.array_equal(rows[other], rows[token])]
            assert sorted([*entry["equal_to"], token]) == equal
            assert entry["verdict"] in ("tied", "unspeakable")
        elif entry["verdict"] != "undecided":
            assert (entry["verdict"] == "speakable") == can_win(rows, token), token


def test_a_healthy_model_passes_but_for_its_pad(tmp_path: Path) -> None:
    record = check(save(model(), tmp_path / "m"))
    assert_right(tmp_path / "m", record)
    assert {token: entry["side"] for token, entry in record["by_token"].items()} == {
        EOS: "must",
        PAD: "never",
        END: "must",
    }
    assert [(one["tokens"], one["kind"]) for one in record["findings"]] == [([PAD], "speakable")]
    assert record["mask"] == [PAD]
    assert check(save(model(), tmp_path / "n", suppress_tokens=[PAD]))["ok"]


def test_a_new_end_of_turn_row_of_zeros_never_stops(tmp_path: Path) -> None:
    def zero(head: torch.Tensor) -> None:
        head[END] = 0

    done = reach("check", save(model(), tmp_path / "m", zero, suppress_tokens=[PAD]))
    assert done.code == 1
    (line,) = [line for line in done.out.splitlines() if line.startswith("FAIL")]
    assert line == (
        "FAIL '<|end|>' (95): must be said as eos (generation_config.json: eos_token_id), end of turn "
        "(chat_template.jinja): it is never the argmax, whatever comes before the head (proved); greedy generation "
        "does not stop by it; give it a row of its own and train it with the head unfrozen, or stretch it"
    )


def test_an_end_that_leads_by_next_to_nothing_fails(tmp_path: Path) -> None:
    def shorten(head: torch.Tensor) -> None:
        head[END] = head[5] * (1 + 1e-4)  # it leads where the other does, by a ten-thousandth of its logit

    folder = save(model(), tmp_path / "m", shorten, suppress_tokens=[PAD])
    (finding,) = check(folder)["findings"]
    assert (finding["tokens"], finding["kind"]) == ([END], "thin")
    assert check(folder, "--margin", 1e-4)["ok"]


@pytest.mark.parametrize("mean_resizing", [True, False])
@pytest.mark.parametrize("multiple", [None, 64])
def test_rows_that_a_resize_adds(tmp_path: Path, mean_resizing: bool, multiple: int | None) -> None:
    made = model(NAMED - 1)  # the last marker gets its row only now
    made.resize_token_embeddings(NAMED, pad_to_multiple_of=multiple, mean_resizing=mean_resizing)
    folder = save(made, tmp_path / "m", suppress_tokens=[PAD])
    record = check(folder)
    assert_right(folder, record)
    rows = len(rows_of(folder))
    assert rows == (NAMED if multiple is None else 128)
    assert set(record["by_token"]) == {EOS, PAD, END, *range(NAMED, rows)}
    assert record["by_token"][END]["fails"] in ("unspeakable", "thin")
    assert record["by_token"][EOS]["fails"] is None
    assert all(record["by_token"][token]["roles"][0]["name"] == "padding row" for token in range(NAMED, rows))


@pytest.mark.parametrize("kind", ["random", "zero", "mean", "copied"])
def test_padding_to_a_multiple_of_128(tmp_path: Path, kind: str) -> None:
    def pad(head: torch.Tensor) -> None:
        if kind == "zero":
            head[NAMED:] = 0
        elif kind == "mean":
            head[NAMED:] = head[:NAMED].mean(dim=0)
        elif kind == "copied":
            head[NAMED:] = head[5]

    folder = save(model(128), tmp_path / "m", pad, suppress_tokens=[PAD])
    record = check(folder)
    assert_right(folder, record)
    padding = [record["by_token"][token]["fails"] for token in range(NAMED, 128)]
    if kind == "random":
        rows = rows_of(folder)
        assert padding == ["speakable" if can_win(rows, token) else None for token in range(NAMED, 128)]
        assert padding.count("speakable") > 16
    else:
        assert set(padding) == {"tied" if kind == "copied" else None}
    assert record["mask"] == [NAMED + at for at, fails in enumerate(padding) if fails]
    assert not [one for one in record["findings"] if one["side"] == "must"]
    if kind == "copied":
        assert "can share the top with 'w5' (5)" in record["findings"][0]["proved"]


def test_rows_that_are_all_negative_are_not_reported(tmp_path: Path) -> None:
    def negative(head: torch.Tensor) -> None:
        head[EOS], head[END] = -head[EOS].abs(), -head[END].abs()

    folder = save(model(), tmp_path / "m", negative, suppress_tokens=[PAD])
    record = check(folder)
    assert_right(folder, record)
    assert record["ok"]
    assert [record["by_token"][token]["verdict"] for token in (EOS, END)] == ["speakable", "speakable"]


def test_a_shared_row_is_no_row_of_its_own(tmp_path: Path) -> None:
    def copy(head: torch.Tensor) -> None:
        head[END] = head[7]

    record = check(save(model(), tmp_path / "m", copy, suppress_tokens=[PAD]))
    (finding,) = record["findings"]
    assert (finding["tokens"], finding["kind"]) == ([END], "tied")
    assert "its row equals that of 'w7' (7)" in finding["proved"]


def test_a_tied_head_is_read_as_it_is_served(tmp_path: Path) -> None:
    record = check(save(model(tie_word_embeddings=True), tmp_path / "m", suppress_tokens=[PAD]))
    assert_right(tmp_path / "m", record)
    assert record["ok"]


def test_a_bare_head_with_offsets(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows, offsets = rng.standard_normal((60, 8)), np.zeros(60)
    offsets[3], offsets[4] = -100.0, 100.0
    head = save_head(tmp_path / "head.npz", rows, b=offsets)
    done = reach("check", head, "--domain", "ball:3", "--must", "3,5", "--never", "4,6-7", "--json")
    record = {entry["token"]: entry for entry in json.loads(done.out)["tokens"]}
    assert record[3]["fails"] == "unspeakable"
    assert record[4]["fails"] == "speakable"
    # Token 4 leads everywhere, so that none of the others ever does.
    assert [record[token]["verdict"] for token in (5, 6, 7)] == ["unspeakable"] * 3
    assert reach("check", head, "--domain", "ball:3").complaint.startswith("there is nothing to decide")


@pytest.mark.parametrize("name", ["onmt-lm", "stories260k"])
def test_shared_models(real_models: Path, name: str) -> None:
    record = check(real_models / name)
    assert record["by_token"]
    for entry in record["by_token"].values():
        assert entry["verdict"] != "undecided"


def test_rows_deep_among_others_in_a_head_too_large_to_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "_MOST_SEARCHED", 0)
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((400, 12))
    rows[3], rows[4], rows[5] = 0, rows[100:].mean(axis=0), rows[6]
    rows[7] = 1.2 * rows[8]
    head = save_head(tmp_path / "head.npz", rows, gamma=np.ones(12), norm="rmsnorm", eps=1e-6)
    record = json.loads(reach("check", head, "--must", "3-8", "--json").out)
    found = {entry["token"]: entry["fails"] for entry in record["tokens"]}
    assert [found[token] for token in (3, 4, 5, 6, 7)] == ["thin", "thin", "tied", "tied", None]
    assert (found[8] is None) == can_win(rows, 8)
