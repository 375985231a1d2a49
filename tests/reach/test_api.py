"""`import reach`: heads of every kind in, verdicts out, and nothing else changed in the process."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from reach_command import reach as command
from reach_command import save_head
from transformers import LlamaConfig, LlamaForCausalLM

import reach
from solvers.domains import Ball

CORNERS = np.array([[1, 0], [0, 1], [-1, -1], [0.1, 0.1], [1, 0]])
"""Token 3 lies inside the triangle of 0, 1 and 2; token 4 is token 0 once more."""


@pytest.fixture(scope="module")
def live() -> torch.nn.Module:
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    return LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=2, num_key_value_heads=2)).eval()


def test_the_examples_in_the_docstrings() -> None:
    found = doctest.testmod(reach)
    assert found.attempted > 5
    assert not found.failed


def test_importing_is_quick_and_loads_no_torch() -> None:
    code = (
        "import time, sys; t = time.perf_counter(); import reach; dir(reach); t = time.perf_counter() - t;"
        "assert t < 0.5, t; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_everything_that_is_promised_is_there() -> None:
    assert all(callable(getattr(reach, name)) for name in reach.__all__)
    assert set(reach.__all__) <= set(dir(reach))
    assert reach.__version__
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = reach.lod


def test_any_linear_argmax() -> None:
    found = reach.prove(CORNERS, domain="free")
    names = {name: getattr(found, name).tolist() for name in ("speakable", "unspeakable", "tied", "undecided")}
    assert names == {"speakable": [1, 2], "unspeakable": [3], "tied": [0, 4], "undecided": []}
    assert (found[4].equal_to, found[4].margin_lower, found[4].margin_upper) == (0, 0, 0)
    rows = CORNERS[[one.token_id for one in found[3].blockers]]
    weights = np.array([one.weight for one in found[3].blockers])
    assert np.allclose(weights @ rows, CORNERS[3], atol=1e-6)
    assert weights.tolist() == sorted(weights, reverse=True)
    # With offsets and a small ball, the offsets decide.
    low = reach.prove(CORNERS[:3], [0, 0, -9], Ball(squared_radius=4.0))
    assert low.unspeakable.tolist() == [2]


def test_witnesses_are_points_where_the_token_wins() -> None:
    rng = np.random.default_rng(0)
    rows, offsets = rng.standard_normal((60, 4)), rng.standard_normal(60)
    rows[7], offsets[7] = rows[3], offsets[3]
    found = reach.prove(rows, offsets, "ball:3")
    assert len(found.speakable) > 9
    for token in [*found.speakable.tolist(), *found.tied.tolist()]:
        point = found[token].witness
        assert point is not None
        assert np.linalg.norm(point) < 3
        logits = rows @ point + offsets
        assert logits.argmax() == (3 if token == 7 else token)
    assert all(found[token].witness is None for token in found.unspeakable.tolist())


def test_a_live_model_is_scanned_as_its_files_are(live: torch.nn.Module, tmp_path: Path) -> None:
    live.save_pretrained(tmp_path / "model")
    here, stored = reach.scan(reach.load(live)), reach.scan(tmp_path / "model")
    assert here.manifest.fingerprint == stored.manifest.fingerprint
    assert here.verdict.tolist() == stored.verdict.tolist()
    assert here.manifest.d == 8
    assert here.verify(reach.load(tmp_path / "model")).ok


def test_something_live_that_is_no_language_model() -> None:
    with pytest.raises(reach.BadInput, match="no transformers model"):
        reach.load(torch.nn.Linear(2, 2))


def test_arrays_have_the_names_of_a_bare_head(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    arrays = {"W": rng.standard_normal((12, 3)), "b": rng.standard_normal(12), "gamma": np.ones(3), "eps": 1e-6}
    head = reach.load(arrays)
    assert (head.norm, head.domain.describe()) == ("rmsnorm", "ball:sqrt(3)")
    file = save_head(tmp_path / "head.npz", arrays["W"], dtype=np.float64, b=arrays["b"], gamma=np.ones(3), eps=1e-6)
    assert reach.load(file).problem().fingerprint == head.problem().fingerprint
    assert reach.load({"W": torch.eye(3, dtype=torch.bfloat16)}, domain="free").v == 3
    for wrong, message in (
        ({"W": arrays["W"]}, "say what z ranges over"),
        ({"W": arrays["W"][0]}, "must be a matrix"),
        ({"W": arrays["W"], "c": 1}, "holds c"),
        ({"W": np.full((3, 2), np.nan)}, "NaN"),
    ):
        with pytest.raises(reach.BadInput, match=message) as caught:
            reach.load(wrong)
        assert str(caught.value).startswith("the arrays")


def test_tokens_by_id_text_and_choice() -> None:
    head = reach.load("demo")
    found = reach.scan(head, tokens=[5, 6])
    assert np.flatnonzero(found.verdict != 255).tolist() == [5, 6]
    text = found.name(20)
    assert text is not None
    again = reach.scan(head, tokens=[text])
    assert again.manifest.asked is not None
    assert (again.manifest.asked.count, again[text].token_id) == (1, 20)
    with pytest.raises(reach.BadInput, match="is no token"):
        _ = found["no such token at all"]
    with pytest.raises(reach.BadInput, match="ids 0 to 3999"):
        reach.scan(head, tokens=[4000])
    with pytest.raises(IndexError):
        _ = found[4000]


def test_a_run_is_saved_opened_and_verified(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rows = np.concatenate([rng.standard_normal((30, 3)), [[0.01, 0, 0]], [[0, 0, 0.01]]])
    file = save_head(tmp_path / "head.npz", rows)
    head = reach.load(file, domain="free")
    found = reach.scan(head)
    folder = found.save(tmp_path / "run")
    again = reach.open(folder)
    assert again.totals == found.totals == again.manifest.totals
    assert again.table == found.table
    assert again.verify(head).ok
    assert command("verify", folder, "--quiet").code == 0
    assert command("report", folder).code == 0
    with pytest.raises(reach.BadInput, match="--force"):
        found.save(folder)
    found.save(folder, force=True)
    with pytest.raises(reach.BadInput, match="another model"):
        again.verify(reach.load({"W": rows[::-1]}, domain="free"))
    with pytest.raises(reach.BadInput, match="give the head"):
        again.verify()
    token = next(t for t in found.speakable.tolist() if again.witness_kind.of(t) != "stored")
    with pytest.raises(reach.BadInput, match="need the head"):
        _ = again[token].witness
    assert np.array_equal(again.about(head)[token].witness, found[token].witness)


def test_a_verdict_that_was_changed_is_found(tmp_path: Path) -> None:
    found = reach.prove(CORNERS)
    folder = found.save(tmp_path / "run")
    table = found.table.to_pydict()
    table["verdict"][3] = "speakable"
    changed = reach.Verdicts(
        type(found.tables)(type(found.table).from_pydict(table, schema=found.table.schema)), found.manifest
    )
    assert found.verify().ok
    assert 3 in changed.verify(found.problem).failed
    assert reach.open(folder).verify(found.problem).ok


def test_nothing_global_changes_and_nothing_is_printed(
    live: torch.nn.Module, capfd: pytest.CaptureFixture[str]
) -> None:
    before = torch.get_num_threads()
    reach.load(live)
    seen: list[tuple[str, int, int]] = []
    reach.prove(CORNERS, jobs=before + 1)
    assert torch.get_num_threads() == before
    reach.prove(np.random.default_rng(0).standard_normal((50, 4)), progress=lambda *told: seen.append(told))
    assert seen
    for what in {name for name, _, _ in seen}:
        done = [count for name, count, _ in seen if name == what]
        assert done == sorted(done)
        assert done[-1] == next(total for name, _, total in seen if name == what)
    assert capfd.readouterr() == ("", "")


def test_as_a_data_frame() -> None:
    pandas = pytest.importorskip("pandas")
    frame = reach.prove(CORNERS).to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.verdict.tolist() == ["tied", "speakable", "speakable", "unspeakable", "tied"]
