"""`reach trace` over a real family of tiny models, trained by the project's script and scanned by its command."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trace_family
from reach_command import Outcome, change_manifest, reach
from scipy.stats import rankdata, spearmanr

from reach.classes import CLASSES
from reach.compare.controls import CONTROLS, control_table, scan_quietly
from reach.equal_rows import merge_equal_rows
from reach.heads.load import load_head
from reach.runs.schema import VERDICT_NAMES
from reach.trace.record import TraceRecord, TraceResult
from reports.trace_page import write_trace_page
from solvers.errors import BadInput

LIGHT = ("--resamples", 50, "--shuffles", 20, "--quiet", "--no-report")


@cache
def record() -> dict[str, Any]:
    return json.loads((trace_family.traced() / "trace.json").read_text())


@cache
def rows() -> list[dict[str, Any]]:
    return pq.read_table(trace_family.traced() / "trace.parquet").to_pylist()


@cache
def run_table(series: str, step: int) -> list[dict[str, Any]]:
    return pq.read_table(trace_family.runs() / series / f"checkpoint-{step}" / "verdicts.parquet").to_pylist()


def margin(row: dict[str, Any]) -> float:
    name = {"speakable": "margin_lower", "tied": "margin_lower", "unspeakable": "margin_upper"}.get(row["verdict"])
    value = None if name is None else row[name]
    return np.nan if value is None else value


def margins(series: str, step: int) -> np.ndarray:
    return np.array([margin(row) for row in run_table(series, step)])


SERIES = [f"{optimizer}-seed-{seed}" for optimizer in sorted(trace_family.OPTIMIZERS) for seed in trace_family.SEEDS]


def test_series_and_steps_come_from_the_folders():
    assert [one["name"] for one in record()["series"]] == SERIES
    for one in record()["series"]:
        folders = (trace_family.runs() / one["name"]).iterdir()
        assert [step["step"] for step in one["steps"]] == sorted(int(path.name.split("-")[1]) for path in folders)
        assert one["factors"] == {"optimizer": one["name"].split("-")[0], "seed": one["name"][-1]}
        assert one["steps"][0]["step"] == 0
        assert one["by_id"]
    assert len(record()["runs"]) == len(SERIES) * trace_family.CHECKPOINTS
    assert record()["left_out"] == []


def test_every_row_says_what_the_runs_say():
    assert len(rows()) == len(SERIES) * trace_family.VOCABULARY
    for row in rows():
        mine = [run_table(row["series"], step)[row["token_id"]] for step in row["steps"]]
        assert {(one["token"], one["text"]) for one in mine} == {(row["token"], row["text"])}
        for name in ("verdict", "margin_lower", "margin_upper", "row_norm"):
            assert row[name] == [one[name] for one in mine]
        assert row["margin"] == [None if np.isnan(margin(one)) else margin(one) for one in mine]
        speakable = [one["own_direction"] for one in mine]
        assert row["class"] == [
            ("own-direction" if own else "hard-to-speak") if one["verdict"] == "speakable" else one["verdict"]
            for one, own in zip(mine, speakable, strict=True)
        ]


def turns(row: dict[str, Any]) -> list[tuple[int, int, bool]]:
    """Changes between speakable and not, in plain steps: (after, by, whether it became so)."""
    decided = [(step, one == "speakable") for step, one in zip(row["steps"], row["verdict"], strict=True)
               if one in ("speakable", "tied", "unspeakable")]  # fmt: skip
    return [(a, b, now) for (a, then), (b, now) in pairwise(decided) if then != now]


def test_changes_are_those_of_the_verdicts_and_add_up():
    seen = 0
    for row in rows():
        found = turns(row)
        assert row["turns"] == len(found)
        for became, names in ((True, ("became_after", "became_by")), (False, ("stopped_after", "stopped_by"))):
            latest = [(a, b) for a, b, now in found if now is became]
            assert tuple(row[name] for name in names) == (latest[-1] if latest else (None, None))
        seen += len(found)
    assert seen, "no token of the family turned: the test would show nothing"
    for one in record()["series"]:
        mine = [turns(row) for row in rows() if row["series"] == one["name"]]
        assert one["turned"] == sum(bool(found) for found in mine)
        assert one["oscillating"] == sum(len(found) > 1 for found in mine)
        assert one["became"] == sum(bool(found) and found[-1][2] for found in mine)
        assert one["stopped"] == sum(bool(found) and not found[-1][2] for found in mine)


def test_counts_and_quartiles_are_those_of_each_run():
    for one in record()["series"]:
        for step in one["steps"]:
            table = run_table(one["name"], step["step"])
            for verdict in VERDICT_NAMES[1:]:
                assert step["classes"][verdict] == sum(row["verdict"] == verdict for row in table)
            assert set(step["classes"]) == set(CLASSES)
            known = margins(one["name"], step["step"])
            assert step["median_margin"] == pytest.approx(np.nanmedian(known))
            last = margins(one["name"], trace_family.STEPS)
            assert step["with_last"] == pytest.approx(spearmanr(known, last, nan_policy="omit").statistic)


def test_series_are_held_against_each_other_token_by_token():
    assert len(record()["pairs"]) == len(SERIES) * (len(SERIES) - 1) // 2
    for pair in record()["pairs"]:
        one, other = (margins(pair[name], trace_family.STEPS) for name in ("one", "other"))
        assert pair["step"] == trace_family.STEPS
        assert pair["rho"]["rho"]["value"] == pytest.approx(spearmanr(one, other, nan_policy="omit").statistic)
        assert pair["rho"]["rho"]["low"] <= pair["rho"]["rho"]["value"] <= pair["rho"]["rho"]["high"]
        names = pair["one"].split("-"), pair["other"].split("-")
        wanted = [key for key, at in (("optimizer", 0), ("seed", 2)) if names[0][at] != names[1][at]]
        assert pair["differ"] == wanted
        if wanted == ["optimizer"]:  # a seed decides the initialised model, whatever trains it
            assert pair["initial"]["rho"]["value"] == pytest.approx(1)
        else:
            assert abs(pair["initial"]["rho"]["value"]) < 0.3
        sets = [{row["token_id"] for row in run_table(pair[name], trace_family.STEPS)
                 if row["verdict"] == "unspeakable"} for name in ("one", "other")]  # fmt: skip
        assert (pair["unspeakable"]["one"], pair["unspeakable"]["other"]) == tuple(map(len, sets))
        assert pair["unspeakable"]["both"] == len(sets[0] & sets[1])
        ranks = [rankdata(values) for values in (one, other)]
        farthest = np.argmax(np.abs(ranks[0] - ranks[1]))
        assert rows()[pair["outliers"][0]["row"]]["series"] == pair["one"]
        assert abs(pair["outliers"][0]["value"]) == pytest.approx(abs(ranks[0] - ranks[1])[farthest] / len(one))


def test_the_variance_is_split_between_token_seed_and_rest():
    assert [group["factors"] for group in record()["groups"]] == [{"optimizer": "adamw"}, {"optimizer": "sgd"}]
    for group in record()["groups"]:
        values = np.column_stack([margins(name, trace_family.STEPS) for name in group["series"]])
        n, s = values.shape
        whole, tokens, seeds = values.mean(), values.mean(axis=1), values.mean(axis=0)
        rest = ((values - tokens[:, None] - seeds + whole) ** 2).sum() / ((n - 1) * (s - 1))
        token = max(0.0, (s * ((tokens - whole) ** 2).sum() / (n - 1) - rest) / s)
        seed = max(0.0, (n * ((seeds - whole) ** 2).sum() / (s - 1) - rest) / n)
        split = group["split"]
        assert split["variance"] == pytest.approx(token + seed + rest)
        assert split["token"]["value"] == pytest.approx(token / (token + seed + rest))
        assert split["rest"]["value"] == pytest.approx(rest / (token + seed + rest))
        # Initialised models of other seeds have nothing to do with each other.
        assert group["initial"]["token"]["value"] <= 2 * group["initial"]["shuffled_token"]
        assert sum(group["unspeakable"]) == trace_family.VOCABULARY
        assert sum(group["by_chance"]) == pytest.approx(trace_family.VOCABULARY)


def test_optimisers_are_compared_over_the_same_seeds():
    (factor,) = record()["factors"]
    assert (factor["name"], factor["step"], factor["along"]) == ("optimizer", trace_family.STEPS, [])
    first, other = factor["levels"]
    for level in (first, other):
        assert level["series"] == [name for name in SERIES if name.startswith(f"{level['level']}-")]
        assert level["median_margin"] == pytest.approx(
            [np.nanmedian(margins(name, trace_family.STEPS)) for name in level["series"]]
        )
    assert other["pairs"] == len(trace_family.SEEDS)
    apart = np.array(other["median_margin"]) - first["median_margin"]
    assert other["margin_against"]["value"] == pytest.approx(apart.mean())
    assert first["against"] is None


def test_findings_say_interval_and_control(tmp_path: Path):
    outcome = reach("trace", trace_family.runs(), "--out", tmp_path / "t", "--json", *LIGHT)
    found = {one["key"]: "\n".join(one["lines"]) for one in json.loads(outcome.out)["findings"]}
    assert set(found) == {"seed", "sets", "start", "when", "sudden", "back", "factors"}
    for key in ("seed", "start"):
        assert "95 %" in found[key]
        assert "shuffled tokens" in found[key]
    assert "initialised models" in found["seed"]
    assert "the initialised model (step 0)" in found["start"]
    assert "by chance" in found["start"] or "no token is unspeakable" in found["start"]
    assert "shuffled within each interval" in found["sudden"]
    assert "t intervals" in found["factors"]


# --- what decides the order -----------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A copy of one series to spoil."""
    return Path(shutil.copytree(trace_family.runs() / "adamw-seed-0", tmp_path / "runs" / "adamw-seed-0"))


def traced(tmp_path: Path, *runs: object, more: tuple[object, ...] = ()) -> TraceResult:
    outcome = reach("trace", *runs, "--out", tmp_path / "t", "--force", *LIGHT, *more)
    assert outcome.code == 0, outcome.err
    return TraceResult.read(tmp_path / "t")


def test_neither_times_of_files_nor_the_order_of_the_words_matter(tmp_path: Path, own: Path):
    before = traced(tmp_path, own).table
    folders = sorted(own.iterdir())
    for at, folder in enumerate(folders):
        for file in (folder, *folder.rglob("*")):
            os.utime(file, (2_000_000_000 - at * 1000, 2_000_000_000 - at * 1000))
    assert traced(tmp_path, *reversed(folders)).table.equals(before)
    assert traced(tmp_path, own, folders[0], own.parent).table.equals(before)


def test_a_plan_moves_runs_to_other_places(tmp_path: Path, own: Path):
    steps = sorted(int(path.name.split("-")[1]) for path in own.iterdir())
    plan = tmp_path / "plan.csv"
    lines = [f"adamw-seed-0/checkpoint-{step},turned,{100 - step},0.1" for step in steps]
    plan.write_text("\n".join(["run,series,step,weight_decay", *lines, "gone/checkpoint-1,x,1,"]) + "\n")
    found = traced(tmp_path, own, more=("--plan", plan)).record
    assert [(one.name, one.factors) for one in found.series] == [("turned", {"weight_decay": "0.1"})]
    assert [step.step for step in found.series[0].steps] == sorted(100 - step for step in steps)
    assert [(one.run, one.why) for one in found.left_out] == [
        ("gone/checkpoint-1", "in the plan, but not among the runs")
    ]


def test_series_of_one_name_in_two_folders_stay_apart(tmp_path: Path, own: Path):
    shutil.copytree(own, tmp_path / "other" / "adamw-seed-0")
    found = traced(tmp_path, own.parent, tmp_path / "other").record
    assert [one.name for one in found.series] == ["other/adamw-seed-0", "runs/adamw-seed-0"]
    assert found.pairs[0].rho is not None
    assert found.pairs[0].rho.rho.value == pytest.approx(1)
    assert found.groups == []  # the same seed twice is no second seed


def test_random_heads_of_a_run_stand_beside_the_series(tmp_path: Path, own: Path):
    model = trace_family.models() / "adamw-seed-0" / f"checkpoint-{trace_family.STEPS}"
    run = own / model.name
    # As `reach compare-solvers` makes them, without all that it does beside.
    problem = merge_equal_rows(load_head(model).problem()).problem
    heads = {name: build(problem, 0) for name, build in CONTROLS.items()}
    tables = [control_table(name, head, scan_quietly(head, 1, 60.0)) for name, head in heads.items()]
    pq.write_table(pa.concat_tables(tables), run / "controls.parquet")
    table = pq.read_table(run / "controls.parquet").to_pylist()
    first = [row for row in table if row["control"] == table[0]["control"] and row["verdict"] in VERDICT_NAMES[:3]]
    control = traced(tmp_path, own).record.series[0].control
    assert control is not None
    assert (control.name, control.rows) == (table[0]["control"], len(first))
    assert control.unspeakable == sum(row["verdict"] == "unspeakable" for row in first)
    assert control.median_margin == pytest.approx(np.median([margin(row) for row in first]))
    said = reach("trace", own, "--out", tmp_path / "t", "--force", *LIGHT).out
    assert f"rows of a random head of the same shape ({control.name})" in said


# --- bad input ------------------------------------------------------------------------------------------------------


def refused(tmp_path: Path, *words: object) -> str:
    outcome: Outcome = reach("trace", *words, "--out", tmp_path / "refused", *LIGHT)
    assert not (tmp_path / "refused").exists()
    return outcome.complaint


def change_table(run: Path, **columns: list[Any]) -> None:
    table = pq.read_table(run / "verdicts.parquet")
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))
    pq.write_table(table, run / "verdicts.parquet")


def steps_of(run: Path) -> Iterator[Path]:
    yield from sorted(run.iterdir(), key=lambda path: int(path.name.split("-")[1]))


def test_runs_that_cannot_be_used_are_named_left_out_and_counted(tmp_path: Path, own: Path):
    first, second, third, last = steps_of(own)
    change_manifest(second, status="running")
    (third / "manifest.json").unlink()
    shutil.copytree(first, own / "checkpoint-99")
    (own / "checkpoint-99" / "verdicts.parquet").write_bytes((first / "verdicts.parquet").read_bytes()[:-300])
    gone = tmp_path / "nowhere"
    outcome = reach("trace", own, gone, "--out", tmp_path / "t", "--json", *LIGHT)
    assert outcome.code == 0
    assert "left out 4 of 6 runs" in outcome.err
    why = {Path(one["run"]).name: one["why"] for one in json.loads(outcome.out)["left_out"]}
    assert why.keys() == {"nowhere", second.name, third.name, "checkpoint-99"}
    assert why["nowhere"] == "missing"
    assert why[second.name] == "the scan has not finished"
    assert "half-written" in why[third.name]
    assert "not readable as Parquet" in why["checkpoint-99"]
    (series,) = TraceRecord.read(tmp_path / "t").series
    assert [step.step for step in series.steps] == [0, trace_family.STEPS]
    assert series.sudden is None
    assert "a single series" in " ".join(TraceRecord.read(tmp_path / "t").notes)
    del last


def test_nothing_to_trace_is_one_line(tmp_path: Path, own: Path):
    for run in own.iterdir():
        change_manifest(run, status="running")
    said = refused(tmp_path, own, tmp_path / "nowhere")
    assert "no finished run to trace (5 could not be used; the first:" in said
    assert "nowhere: missing" in said
    (tmp_path / "empty").mkdir()
    assert "holds no run" in refused(tmp_path, tmp_path / "empty")


def test_what_names_do_not_tell_is_left_out_with_what_to_do(tmp_path: Path, own: Path):
    run = Path(shutil.move(next(steps_of(own)), tmp_path / "nameless"))
    change_manifest(run, model="nameless")
    assert "its series and step cannot be told from its name" in refused(tmp_path, run)
    assert "--plan FILE.csv" in refused(tmp_path, run)
    plan = tmp_path / "plan.csv"
    plan.write_text("run,series,step\nnameless,adamw-seed-0,0\n")
    (one,) = traced(tmp_path, run, more=("--plan", plan)).record.series
    assert (one.name, one.from_first, one.intervals) == ("adamw-seed-0", None, [])


def test_seeds_can_be_compared_at_a_single_checkpoint_and_their_page_written(tmp_path: Path):
    runs = sorted(trace_family.runs().glob(f"*/checkpoint-{trace_family.STEPS}"))
    outcome = reach("trace", *runs, "--out", tmp_path / "t", *(word for word in LIGHT if word != "--no-report"))
    assert outcome.code == 0, outcome.err
    assert "4 runs of 4 series" in outcome.out
    assert f"{', '.join(SERIES[:3])} and 1 more: a single checkpoint" in outcome.out
    assert "Tokens over seeds" in (tmp_path / "t" / "trace.html").read_text()
    alone = reach("trace", runs[0], "--out", tmp_path / "t", "--force", *(w for w in LIGHT if w != "--no-report"))
    assert alone.code == 0, alone.err
    assert "1 run of 1 series, 320 tokens." in alone.out
    assert "Tokens at a single checkpoint" in (tmp_path / "t" / "trace.html").read_text()


def test_the_step_from_which_the_final_order_is_there_is_said(tmp_path: Path, own: Path):
    record = traced(tmp_path, own).record
    correlations = [(step.step, step.with_last) for step in record.series[0].steps]
    late = [step for at, (step, _) in enumerate(correlations) if all(value > 0.5 for _, value in correlations[at:])]
    said = reach("trace", own, "--out", tmp_path / "t", "--force", *LIGHT).out
    assert f"correlates with the last one by more than 0.5 from step {late[0]}." in said


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"domain": "free", "squared_radius": None}, "another domain"),
        ({"asked": {"tokens": "0-10", "count": 11}}, "another choice of tokens"),
        ({"settings": {"margin_gap": 0.01}}, "another --margins"),
    ],
)
def test_runs_that_answer_other_questions_are_never_mixed(tmp_path: Path, own: Path, entries: dict, said: str):
    change_manifest(list(steps_of(own))[1], **entries)
    assert f"runs with {said} cannot be traced together" in refused(tmp_path, own)


def test_two_runs_at_one_step_are_refused(tmp_path: Path, own: Path):
    shutil.copytree(own / "checkpoint-0", own / "step-0")
    said = refused(tmp_path, own)
    assert "are both step 0 of series adamw-seed-0" in said
    assert "--plan" in said


def test_other_vocabularies_are_matched_by_string_and_counted(tmp_path: Path, own: Path):
    runs = list(steps_of(own))
    table = run_table("adamw-seed-0", trace_family.STEPS)
    names = [row["token"] for row in table]
    moved = [*names[1:], "only here"]
    moved[5] = moved[6]  # two of one string: nobody guesses which
    change_table(runs[-1], token=moved, text=moved)
    change_table(runs[0], text=names)
    for run in runs[1:-1]:
        change_table(run, text=names)
    found = traced(tmp_path, own)
    (series,) = found.record.series
    assert not series.by_id
    assert (series.tokens, series.ambiguous, series.missing) == (len(names) - 3, 2, 3)
    for row in found.table.slice(20, 30).to_pylist():
        own_row = row["token_id"]
        assert row["row_norm"][0] == pq.read_table(runs[0] / "verdicts.parquet")["row_norm"][own_row].as_py()
        assert row["row_norm"][-1] == pq.read_table(runs[-1] / "verdicts.parquet")["row_norm"][own_row - 1].as_py()
    alien = [f"alien-{at}" for at in range(len(names))]
    change_table(runs[-1], token=alien, text=alien)
    assert "have no token in common by its string" in refused(tmp_path, own)


def test_margins_that_are_only_partly_there_are_not_invented(tmp_path: Path, own: Path):
    runs = list(steps_of(own))
    table = pq.read_table(runs[1] / "verdicts.parquet").to_pylist()
    verdict = ["undecided" if at < 7 else row["verdict"] for at, row in enumerate(table)]
    lower = [None if at < 7 else row["margin_lower"] for at, row in enumerate(table)]
    upper = [None if at < 7 else row["margin_upper"] for at, row in enumerate(table)]
    evidence = [None if at < 7 else row["evidence"] for at, row in enumerate(table)]
    change_table(runs[1], verdict=verdict, margin_lower=lower, margin_upper=upper, evidence=evidence)
    found = traced(tmp_path, own)
    (series,) = found.record.series
    assert series.undecided == 7
    assert series.sudden is not None
    assert series.sudden.tested == trace_family.VOCABULARY - 7
    for row in found.table.slice(0, 7).to_pylist():
        assert row["margin"][1] is None
        assert row["verdict"][1] == "undecided"
        assert row["leap_p"] is None


def test_its_page_alone_is_written_again(tmp_path: Path, own: Path):
    traced(tmp_path, own)
    page = tmp_path / "t" / "trace.html"
    assert not page.exists()
    assert reach("report", tmp_path / "t").out.split() == [str(page)]
    assert page.read_text() == write_trace_page(tmp_path / "t", tmp_path / "by-hand.html").read_text()
    assert reach("report", tmp_path / "t", "--out", tmp_path / "other.html").out.split() == [
        str(tmp_path / "other.html")
    ]
    assert "no run folder" in reach("report", tmp_path / "t", own).complaint


def test_a_trace_is_not_overwritten_unasked_and_damage_is_told(tmp_path: Path, own: Path):
    traced(tmp_path, own)
    assert "exists already; pass --force" in reach("trace", own, "--out", tmp_path / "t", *LIGHT).complaint
    table = pq.read_table(tmp_path / "t" / "trace.parquet")
    pq.write_table(table.slice(1), tmp_path / "t" / "trace.parquet")
    with pytest.raises(BadInput, match="not as many rows of adamw-seed-0"):
        TraceResult.read(tmp_path / "t")
    pq.write_table(table, tmp_path / "t" / "trace.parquet")
    told = json.loads((tmp_path / "t" / "trace.json").read_text())
    for entries, said in (
        ({"schema": 7}, "this version reads 1"),
        ({"series": [{"name": 3}]}, "an entry is missing or of another kind"),
        (
            {"pairs": [json.loads((trace_family.traced() / "trace.json").read_text())["pairs"][0]]},
            "are no such series",
        ),
    ):
        (tmp_path / "t" / "trace.json").write_text(json.dumps(told | entries))
        with pytest.raises(BadInput, match=said):
            TraceResult.read(tmp_path / "t")
    file = tmp_path / "file"
    file.touch()
    assert "is a file, but a trace is a folder" in reach("trace", own, "--out", file, *LIGHT).complaint
