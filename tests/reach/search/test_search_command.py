"""`reach search` as a user runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from reach_command import reach
from tiny_search import saved, tiny_llama

from reach.search.live import LiveModel, load_live_model
from reach.search.options import LEVELS
from reach.search.prompts import RoundTrip, load_tokenizer
from reach.search.record import TABLE_FILE, WITNESSES, SearchRecord
from reach.search.replay import replay
from reach.search.stored import STATE, read_witnesses

QUICK = ("--length", "1,2", "--steps", "15", "--restarts", "1", "--jobs", "1", "--quiet")


def table_of(run):
    return pq.read_table(run / TABLE_FILE).to_pydict()


@pytest.fixture(scope="module")
def stories(real_models, tmp_path_factory):
    run = tmp_path_factory.mktemp("search") / "run"
    with pytest.MonkeyPatch.context() as less:
        less.setattr("reach.search.phases.SAMPLED", 512)
        less.setattr("reach.search.strength.PLANTS", 256)
        less.setattr("reach.search.strength.SAMPLE", 16)
        outcome = reach("search", real_models / "stories260k", "--run", run, "--budget", 10, *QUICK)
    assert outcome.code == 0, outcome.err
    return run, outcome


@pytest.fixture
def tiny(tmp_path):
    return saved(tiny_llama(), tmp_path / "model")


def test_funnel_only_narrows_and_every_level_is_a_column(stories):
    run, outcome = stories
    record, table = SearchRecord.read(run), table_of(run)
    assert table["token_id"] == list(range(512))
    counts = [row.tokens for row in record.funnel]
    assert counts == sorted(counts, reverse=True)
    hits = np.array([table[f"{level}_hit"] for level in LEVELS])
    assert (hits[:-1] >= hits[1:]).all()
    # However little time there was, every single token has been tried.
    assert hits[0].sum() > 40
    for level in LEVELS:
        found = [token for token in range(512) if table[f"{level}_hit"][token]]
        assert all(table[f"{level}_margin"][token] > 0 for token in found)
        assert all(table[f"{level}_length"][token] >= 1 for token in found)
    assert "not found is no proof" in outcome.out
    assert record.contradictions == ()
    assert (run / "search.html").is_file()
    assert not (run / STATE).exists()


def test_stored_witnesses_replay_alone(stories, real_models):
    run, _ = stories
    folder = str(real_models / "stories260k")
    trip = RoundTrip(load_tokenizer(folder))
    live = LiveModel(load_live_model(folder, "stories"), "stories", trip.before)
    witnesses = read_witnesses(run / WITNESSES)
    table = table_of(run)
    stored = {(token, witness.level) for token, witness in witnesses}
    assert stored == {
        (token, table[f"{level}_witness"][token])
        for level in LEVELS for token in range(512) if table[f"{level}_hit"][token]
    }  # fmt: skip
    for token, witness in witnesses[::5]:
        again = replay(live, trip, token, witness)
        assert again.holds(token)
        assert again.margin == pytest.approx(table[f"{witness.level}_margin"][token], abs=1e-4)


def test_text_witnesses_are_text(stories, real_models):
    run, _ = stories
    rows = pq.read_table(run / WITNESSES / "prompts.parquet").to_pylist()
    tokenizer = load_tokenizer(str(real_models / "stories260k"))
    texts = [row for row in rows if row["level"] == "text"]
    assert texts
    for row in texts:
        assert tokenizer.encode(row["text"], add_special_tokens=False) == row["ids"]


def test_strength_has_intervals_for_every_level(stories):
    strength = SearchRecord.read(stories[0]).strength
    planted = strength.planted
    assert {(one.level, one.length) for one in planted} == {(level, k) for level in LEVELS for k in (1, 2)}
    for one in planted:
        if one.all is not None:
            assert 0 <= one.all.low <= one.all.share <= one.all.high <= 1
    assert {one.level for one in strength.runs} == set(LEVELS)


def test_the_budget_is_wall_clock_for_all_of_it(stories):
    record = SearchRecord.read(stories[0])
    # A tenth, and a little for the last steps on a machine that does other things too.
    assert record.seconds <= 1.1 * 10 + 3
    assert sum(msgspec.structs.astuple(record.parts)) == pytest.approx(record.seconds, abs=0.5)


def test_what_is_unfound_is_at_least_and_nested(stories):
    run, outcome = stories
    rows = SearchRecord.read(run).strength.unfound
    assert [row.level for row in rows] == list(LEVELS)
    totals = [row.found + row.at_least for row in rows if row.at_least is not None]
    assert totals == sorted(totals, reverse=True)
    assert outcome.out.count("still unfound:") == len(LEVELS)


def test_unspeakable_tokens_are_skipped_and_a_hit_of_one_fails_loudly(tmp_path):
    # Given a model whose row 7 lies between rows 8 and 9, so the head can never say it.
    model = tiny_llama(tie_word_embeddings=False)
    weight = model.lm_head.weight.data
    weight[7] = (weight[8] + weight[9]) / 4
    folder = saved(model, tmp_path / "model")
    run = tmp_path / "run"
    command = ("search", folder, "--run", run, "--budget", 3, "--no-repeat", *QUICK)
    assert reach(*command).code == 0
    # Own hull weights: 7 = ¼·8 + ¼·9 + ½·0 lies in the hull where 0 does.
    table = table_of(run)
    assert table["verdict"][7] == "unspeakable"
    assert table["first_failed"][7] == "head"
    # When the scan is made to call a token unspeakable that can be said.
    said = next(token for token in range(40) if table["tokens_hit"][token])
    verdicts = pq.read_table(run / "verdicts.parquet")
    at = verdicts.column_names.index("verdict")
    column = verdicts.column("verdict").to_pylist()
    column[said] = "unspeakable"
    pq.write_table(verdicts.set_column(at, "verdict", [column]), run / "verdicts.parquet")
    # Then the search says so and fails.
    outcome = reach(*command, "--force")
    assert outcome.code == 1
    assert "CONTRADICTION" in outcome.err
    assert SearchRecord.read(run).contradictions[0].token_id == said


def test_an_interrupted_search_goes_on(tiny, tmp_path, monkeypatch):
    import reach.search.run as command

    run = tmp_path / "run"
    phases = []

    def stop(phase, *arguments):
        phases.append(phase.name)
        if len(phases) == 3:
            raise KeyboardInterrupt
        return run_phase(phase, *arguments)

    run_phase = command.run_phase
    monkeypatch.setattr(command, "run_phase", stop)
    arguments = ("search", tiny, "--run", run, "--budget", 30, "--strength", 0, *QUICK)
    assert reach(*arguments).code == 130
    state = json.loads((run / STATE / "state.json").read_text())
    assert state["done"] == phases[:2]
    monkeypatch.setattr(command, "run_phase", run_phase)
    refused = reach(*arguments)
    assert "unfinished search" in refused.complaint
    assert "other settings" in reach(*arguments, "--seed", 3, "--resume").complaint
    assert reach(*arguments, "--resume").code == 0
    assert SearchRecord.read(run).search_seconds > state["seconds"]
    assert "exists already" in reach(*arguments).complaint


def test_a_folder_that_another_process_writes_to_is_left_alone(tiny, tmp_path):
    run = tmp_path / "run"
    code = "import time; from pathlib import Path; from reach.runs.lock import locked\n"
    code += f"with locked(Path({str(run)!r})):\n    print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        outcome = reach("search", tiny, "--run", run, *QUICK)
        holder.kill()
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert f"process {holder.pid}" in outcome.err
    assert not (run / "search.json").exists()


def test_chosen_tokens_only(tiny, tmp_path):
    run = tmp_path / "run"
    outcome = reach(
        "search", tiny, "--run", run, "--tokens", "3,5-7", "--levels", "free,tokens", "--budget", 2, "--json", *QUICK
    )
    assert outcome.code == 0, outcome.err
    record = json.loads(outcome.out)
    assert record["asked"] == 4
    assert record["levels"] == ["free", "tokens"]
    table = table_of(run)
    assert [token for token in range(40) if table["asked"][token]] == [3, 5, 6, 7]
    assert table["norm_hit"] == [None] * 40


def test_bfloat16_model_is_checked_in_both_dtypes(tmp_path):
    folder = saved(tiny_llama().to(torch.bfloat16), tmp_path / "model")
    run = tmp_path / "run"
    assert reach("search", folder, "--run", run, "--budget", 2, "--dtype", "bfloat16", *QUICK).code == 0
    record, table = SearchRecord.read(run), table_of(run)
    assert record.dtype == "bfloat16"
    both = [(a, b) for a, b in zip(table["free_margin"], table["free_margin_own"], strict=True) if a is not None]
    assert any(a != b for a, b in both)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--length", "0"), "--length"),
        (("--length", "two"), "whole numbers"),
        (("--length", "17"), "only 16 positions"),
        (("--levels", "free,loose"), "no level 'loose'"),
        (("--optimizer", "newton"), "--optimizer"),
        (("--loss", "hinge"), "--loss"),
        (("--budget", "0"), "--budget"),
        (("--batch", "0"), "--batch"),
        (("--resume",), "no unfinished search"),
        (("--prefix", "Hello"), "need a tokenizer"),
        (("--tokens", "999"), "ids 0 to 39"),
    ],
)
def test_bad_input_is_one_line(tiny, tmp_path, arguments, words):
    assert words in reach("search", tiny, "--run", tmp_path / "run", "--quiet", *arguments).complaint


def test_page_escapes_hostile_tokens(stories, tmp_path):
    from reports.search_page import write_search_report

    run = tmp_path / "run"
    shutil.copytree(stories[0], run)
    table = pq.read_table(run / TABLE_FILE)
    names = table.column("text").to_pylist()
    names[0] = "</script><img src=x onerror=alert(1)>"
    pq.write_table(table.set_column(table.column_names.index("text"), "text", [names]), run / "search.parquet")
    record = json.loads((run / "search.json").read_text())
    record["warnings"] = ["<b>bold</b>"]
    (run / "search.json").write_text(json.dumps(record))
    page = write_search_report(run).read_text()
    assert "<img src=x" not in page
    assert "<b>bold" not in page


def test_page_of_a_folder_without_a_search(tmp_path: Path):
    from reports.search_page import write_search_report
    from solvers.errors import BadInput

    with pytest.raises(BadInput, match="make it with 'reach search"):
        write_search_report(tmp_path)
