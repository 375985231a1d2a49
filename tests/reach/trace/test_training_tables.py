"""The tables for docs/training are those of the trace that they are made of."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import trace_family
from reach_command import ROOT

sys.path.append(str(ROOT / "scripts"))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, str]]]:
    from training_tables import main

    out = tmp_path_factory.mktemp("tables")
    main(trace_family.traced(), out, trace_family.models() / "sgd-seed-0" / "training_log.json")
    return {file.stem: list(csv.DictReader(file.open(encoding="utf-8"))) for file in Path(out).iterdir()}


def test_checkpoints_and_pairs_are_those_of_the_record(tables):
    record = json.loads((trace_family.traced() / "trace.json").read_text())
    assert set(tables) == {"steps", "pairs", "variance", "factors", "named", "frequency"}
    counts = [(one["name"], str(step["step"]), str(step["classes"]["unspeakable"])) for one in record["series"]
              for step in one["steps"]]  # fmt: skip
    assert [(row["series"], row["step"], row["unspeakable"]) for row in tables["steps"]] == counts
    for row, pair in zip(tables["pairs"], record["pairs"], strict=True):
        assert (row["one"], row["other"], row["both"]) == (
            pair["one"],
            pair["other"],
            str(pair["unspeakable"]["both"]),
        )
        assert float(row["rho"]) == pytest.approx(pair["rho"]["rho"]["value"], rel=1e-3)
    assert [row["of"] for row in tables["variance"]] == ["margins", "ranks", "initialised"] * 2
    assert [row["level"] for row in tables["factors"]] == ["adamw", "sgd"]


def test_frequencies_are_those_of_the_text_that_was_trained_on(tables):
    log = json.loads((trace_family.models() / "sgd-seed-0" / "training_log.json").read_text())
    unseen = set(log["text"]["token_ids_never_in_training_text"])
    rows = pq.read_table(trace_family.traced() / "trace.parquet").to_pylist()
    for told in tables["frequency"]:
        mine = [row for row in rows if row["series"] == told["series"]]
        at = mine[0]["steps"].index(int(told["step"]))
        unspeakable = {row["token_id"] for row in mine if row["verdict"][at] == "unspeakable"}
        assert int(told["never_seen"]) == len(unseen)
        assert int(told["unspeakable"]) == len(unspeakable)
        assert int(told["unspeakable_never_seen"]) == len(unspeakable & unseen)
        assert 0 < float(told["p"]) <= 1
        assert float(told["low"]) <= float(told["rho"]) <= float(told["high"])
        if told["step"] == "0":  # rows that nothing has trained know nothing of the text
            assert abs(float(told["rho"])) < 0.25


def test_another_text_is_refused(tmp_path: Path):
    from training_tables import counts_of
    from typer import BadParameter

    log = json.loads((trace_family.models() / "sgd-seed-0" / "training_log.json").read_text())
    log["text"]["train"]["tokens"] += 1
    (tmp_path / "log.json").write_text(json.dumps(log))
    with pytest.raises(BadParameter, match="another text"):
        counts_of(tmp_path / "log.json")
