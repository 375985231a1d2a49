"""Which models a command line means, under which names, in which order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_hub import COMMIT, point_at, serving

from reach.many.places import places, several
from reach.natural_order import in_order
from solvers.errors import BadInput


def model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def names(*models: object, revisions: str | None = None) -> list[str]:
    return [str(one.name) for one in places(tuple(map(str, models)), revisions)]


def test_checkpoints_come_in_the_order_of_their_numbers(tmp_path: Path):
    # By their letters 120 would come before 15.
    for step in (120, 15, 2, 1000):
        model(tmp_path / "family" / "adamw-seed-0" / f"checkpoint-{step}")
    model(tmp_path / "family" / "adamw-seed-1" / "checkpoint-2")
    found = places((str(tmp_path / "family"),))
    assert [str(one.name) for one in found] == [
        *(f"family/adamw-seed-0/checkpoint-{step}" for step in (2, 15, 120, 1000)),
        "family/adamw-seed-1/checkpoint-2",
    ]
    assert len({one.series for one in found[:4]}) == 1
    assert found[4].series != found[0].series


def test_a_half_written_checkpoint_is_named_and_other_folders_are_not(tmp_path: Path):
    """It has no config.json, but its name is that of its neighbours; a folder of logs is nobody's neighbour."""
    model(tmp_path / "a" / "checkpoint-1")
    (tmp_path / "a" / "checkpoint-2").mkdir()
    (tmp_path / "a" / "logs").mkdir()
    (tmp_path / "a" / ".git").mkdir()
    assert names(tmp_path / "a") == ["a/checkpoint-1", "a/checkpoint-2"]


def test_a_model_is_not_searched_for_models(tmp_path: Path):
    model(model(tmp_path / "a") / "inner")
    assert names(tmp_path / "a") == ["a"]
    assert not several((str(tmp_path / "a"),), None)


def test_a_list_of_models(tmp_path: Path):
    one, two = model(tmp_path / "one"), model(tmp_path / "two")
    listed = tmp_path / "models.txt"
    listed.write_text(f"# two of ours\n\n{one}\n  {two}\norg/name@v1\n", encoding="utf-8-sig")
    assert names(f"@{listed}") == ["one", "two", "org--name/v1"]
    assert several((f"@{listed}",), None)


def test_equal_names_are_told_apart(tmp_path: Path):
    a, b = model(tmp_path / "a" / "model"), model(tmp_path / "b" / "model")
    assert names(a, b) == ["a--model", "b--model"]
    c = model(tmp_path / "c" / "a" / "model")
    found = names(a, c)
    assert len(set(found)) == 2
    assert all(name.startswith("a--model-") for name in found)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "names no model"), ("# nothing\n", "names no model"), ("\xff\xfe".encode("latin-1"), "is no text")],
)
def test_lists_that_name_nothing(tmp_path: Path, text: str | bytes, said: str):
    listed = tmp_path / "models.txt"
    listed.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadInput, match=said):
        places((f"@{listed}",))


def test_a_list_that_is_not_there(tmp_path: Path):
    with pytest.raises(BadInput, match="one model in every line"):
        places((f"@{tmp_path / 'missing.txt'}",))


def test_a_model_named_twice(tmp_path: Path):
    one = model(tmp_path / "one")
    with pytest.raises(BadInput, match="named twice"):
        places((str(one), str(one)))


def test_revisions_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with serving(tmp_path) as hub:
        hub.branches = {"main": COMMIT, "step1000": COMMIT, "step64": COMMIT}
        hub.tags = {"v1.0": COMMIT}
        point_at(hub, monkeypatch, tmp_path / "cache")
        assert names("org/tiny", revisions="step*") == ["org--tiny/step64", "org--tiny/step1000"]
        assert names("org/tiny", revisions="*") == [
            "org--tiny/main", "org--tiny/step64", "org--tiny/step1000", "org--tiny/v1.0",
        ]  # fmt: skip
        asked = hub.asked
        assert names("org/tiny", revisions="v1.0,main") == ["org--tiny/main", "org--tiny/v1.0"]
        assert hub.asked == asked  # nothing to be looked up
        with pytest.raises(BadInput, match="no revision that fits epoch"):
            places(("org/tiny",), "epoch*")
        with pytest.raises(BadInput, match="no such local folder and no such repository"):
            places(("org/other",), "step*")


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=8, unique=True), st.sampled_from(["step", "checkpoint-"]))
def test_names_with_numbers_sort_by_them(steps: list[int], stem: str):
    assert sorted((f"{stem}{step}" for step in steps), key=in_order) == [f"{stem}{step}" for step in sorted(steps)]
