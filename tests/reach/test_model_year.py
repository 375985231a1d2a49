"""The year that a model's files name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reach.heads.loading import Loading
from reach.model_year import stated_year


def year_of(folder: Path, card: str = "", config: str = "{}") -> int | None:
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / "config.json").write_text(config, encoding="utf-8")
    return stated_year(Loading(str(folder)))


@pytest.mark.parametrize(
    ("card", "year"),
    [
        ("---\nlicense: mit\ndate: 2021-03-04\n---\n# A model\n", 2021),
        ("# M\n\n**Model Release Date**: April 18, 2024.\n", 2024),
        ("- Release date: 3 May 2022\n", 2022),
        ("| Release date | 2023-11 |\n", 2023),
        ("Model date: October 2020\n", 2020),
        ("Date: 18/4/2016\n", 2016),
        ("**Released:** in 2019\n", 2019),
        # None of these is when the model was made.
        ("Trained on text until December 2023.\n", None),
        ("Data cutoff date: 2023\n", None),
        ("@article{x, year={2020}}\n", None),
        ("Release date: soon, see arXiv:2006.01234\n", None),
        ("Release date: 20231\n", None),
        ("", None),
    ],
)
def test_a_card_names_its_year_or_none_is_guessed(tmp_path: Path, card: str, year: int | None):
    assert year_of(tmp_path, card) == year


@pytest.mark.parametrize(
    ("config", "year"),
    [
        ('{"release_date": "2024-05-01"}', 2024), ('{"year": 2018}', 2018), ('{"year": true}', None),
        ('{"year": 20185}', None), ('{"transformers_version": "2019.1"}', None), ("[", None), ("[2020]", None),
    ],
)  # fmt: skip
def test_so_does_a_config(tmp_path: Path, config: str, year: int | None):
    assert year_of(tmp_path, config=config) == year


def test_files_that_are_not_at_hand_or_odd_say_nothing(tmp_path: Path):
    for loading in (
        None,
        Loading(),
        Loading("gpt2"),
        Loading("a/b"),
        Loading(str(tmp_path / "gone")),
        Loading("/\0"),
    ):
        assert stated_year(loading) is None
    os.mkfifo(tmp_path / "README.md")
    assert stated_year(Loading(str(tmp_path))) is None
    (tmp_path / "README.md").unlink()
    (tmp_path / "README.md").write_text("date: " + "1" * 2**21)
    assert stated_year(Loading(str(tmp_path))) is None
