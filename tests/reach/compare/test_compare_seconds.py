"""What a comparison takes follows from its options, however long a backend would go on."""

import json
import math

import liars
import numpy as np
import pytest
import torch
from compare_heads import corners, save

from reach.cli import main
from reach.compare import detection, hidden
from reach.compare.controls import scan_quietly
from reach.compare.detection import Shape, measure_detection
from reach.compare.hidden import measure_hidden
from reach.compare.options import CompareSettings
from reach.compare.rounds import Round, Task, compare_on, compare_rounds
from reach.compare.run import longest
from reach.compare.sample import judged_from_scan
from reach.scanning.state import OPEN
from solvers.domains import Ball, Free
from solvers.problem import ArgmaxProblem
from solvers.registry import Entry


def entry(kind):
    return Entry(kind.name, f"liars:{kind.__name__}")


def task(n, seed=0):
    problem = ArgmaxProblem(torch.from_numpy(corners(n, seed)), Free())
    rows = np.arange(n)
    return Task(problem, f"task-{n}", rows, rows, ["any"] * n, ["speakable"] * n)


def calls(records):
    """What each call was given, in seconds, and how many rows it held."""
    given: dict[float, int] = {}
    for record in records:
        seconds = json.loads(record.work)["given"]
        given[seconds] = given.get(seconds, 0) + 1
    return given


@pytest.mark.parametrize(
    ("kind", "seconds", "batch", "most_rows"),
    [
        (liars.UsesItAll, 0.1, 1024, 12),  # one call, which shares all there is
        (liars.UsesItAll, 0.1, 2, 4),
        (liars.UsesItAllAlone, 0.1, 1024, 4),
        (liars.UsesItAllAlone, 60.0, 1024, 4),  # a quarter of the backend's seconds is a token's most
    ],
)
def test_no_backend_is_given_more_seconds_than_its_own(kind, seconds, batch, most_rows, tmp_path):
    settings = CompareSettings(backends=(kind.name,), seconds=seconds, backend_seconds=0.4, batch=batch)
    given = calls(compare_on(task(12), [entry(kind)], settings, tmp_path, lambda *_: None))
    assert sum(given) <= 0.4 + 1e-9
    assert sum(given.values()) <= most_rows
    assert all(one >= 0.1 - 1e-9 for one in given), "what is given at all is given a token's whole budget"


def test_detection_limits_take_their_part_of_the_options(tmp_path, monkeypatch):
    monkeypatch.setattr(detection, "SHAPES", (Shape(8, 80, 1, False), Shape(16, 120, 1, False)))
    settings = CompareSettings(backends=("uses-it-all",), seconds=1.0, backend_seconds=0.8)
    found = measure_detection([entry(liars.UsesItAll)], settings, tmp_path, lambda *_: None)
    assert len(found) == 4  # two heads under two numbers of iterations
    assert all(0 < one.seconds <= 0.2 + 1e-9 for one in found)


def test_all_rounds_of_a_backend_share_one_process_and_each_has_its_own_problem(tmp_path):
    settings = CompareSettings(backends=("says-where",), jobs=2)
    who = entry(liars.SaysWhere)
    rounds = [Round(task(5), [who], settings), Round(task(7), [], settings), Round(task(9), [who], settings)]
    first, none, last = compare_rounds(rounds, tmp_path, lambda *_: None)
    assert none == []
    said = [{(one["pid"], one["v"]) for one in (json.loads(r.work) for r in part)} for part in (first, last)]
    assert [{v for _, v in one} for one in said] == [{5.0}, {9.0}]
    assert len({pid for one in said for pid, _ in one}) == 1


def test_a_process_that_dies_in_one_round_is_there_again_in_the_next(tmp_path):
    settings = CompareSettings(backends=("segfaults",), seconds=0.5)
    who = entry(liars.Segfaults)
    found = compare_rounds(
        [Round(task(4), [who], settings), Round(task(5), [who], settings)], tmp_path, lambda *_: None
    )
    assert [{r.status for r in part} for part in found] == [{"crashed"}, {"crashed"}]
    assert [len(part) for part in found] == [4, 5]


def test_hidden_tokens_say_where_their_seconds_were_too_few(monkeypatch):
    problem = ArgmaxProblem(torch.from_numpy(corners(60, 1)), Ball(2.0))
    truth = np.array(["speakable"] * 60, dtype=object)
    monkeypatch.setattr(hidden, "_SAMPLES", 500)
    monkeypatch.setattr(hidden, "_STEPS", 10)
    enough, few = (
        {one.method: one for one in measure_hidden(problem, truth, 0, lambda *_: None, seconds)}
        for seconds in (math.inf, 1e-4)
    )
    assert set(enough) == set(few) == set(hidden.METHODS)
    assert not any(one.cut for one in enough.values())
    assert few["lbfgs"].cut
    assert "time ran out" in few["lbfgs"].budget
    assert few["lbfgs"].found <= enough["lbfgs"].found


def test_a_scan_without_time_decides_nothing_wrong_and_says_what_it_left():
    rows = corners(60, 2)
    rows[0] = (rows[1] + rows[2]) / 2
    problem = ArgmaxProblem(torch.from_numpy(rows), Free())
    whole = scan_quietly(problem, 1, 60.0)
    assert not whole.cut
    cut = scan_quietly(problem, 1, 1e-6)
    assert cut.cut
    decided = cut.state.verdict != OPEN
    assert (cut.state.verdict[decided] == whole.state.verdict[decided]).all()
    judged = judged_from_scan(problem, cut)
    assert judged.open == int((~decided[cut.merged.row_of]).sum()) > 0
    assert "undecided" not in set(judged.verdict)


def test_the_formula_is_the_documented_one():
    names = tuple(f"b{i}" for i in range(17))
    settings = CompareSettings(backends=names, seconds=1.0, backend_seconds=3.0, jobs=2)
    assert longest(settings) == pytest.approx(3.5 * 9 * 3 + 9 * 3)
    assert longest(CompareSettings(backends=names, backend_seconds=3.0, jobs=2, strength=False)) == 9 * 3
    assert longest(CompareSettings(backends=("a",), backend_seconds=20.0)) == pytest.approx(3.5 * 20 + 9 * 20)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A whole comparison in a second or so of its own, and what it said."""
    folder = tmp_path_factory.mktemp("compared")
    head = save(folder / "head.npz", corners(60, 3))
    arguments = ["--backends", "own-row,adam,batched-barrier", "--sample", "12", "--seconds", "0.2", "--jobs", "2"]
    arguments += ["--backend-seconds", "0.4", "--head", str(head), "--domain", "ball:2", "--quiet"]
    with pytest.MonkeyPatch.context() as less:
        less.setattr(detection, "SHAPES", (Shape(8, 200, 2, False), Shape(8, 200, 2, True)))
        less.setattr(hidden, "_SAMPLES", 500)
        with pytest.MonkeyPatch.context() as heard:
            said: list[str] = []
            heard.setattr("reach.cli.solvers.say", lambda *lines: said.extend(map(str, lines)))
            with pytest.raises(SystemExit) as ended:
                main(["compare-solvers", "--out", str(folder / "run"), *arguments])
    assert ended.value.code in (0, None)
    return json.loads((folder / "run" / "solvers.json").read_text()), "\n".join(said)


def test_the_whole_command_takes_no_longer_than_its_options_say(compared):
    result, _ = compared
    assert result["longest"] == pytest.approx((1 * 2 + 0.5 * 2 + 2 * 2 * 2 / 4 + 9) * 0.4)
    # Generous: three starts of three processes, on a machine that may be doing other things.
    assert result["seconds"] < result["longest"] + 30


def test_the_terminal_says_what_the_page_shows(compared):
    result, said = compared
    lines = said.splitlines()
    for one in result["detection"]:
        budget = "its own" if one["iterations"] is None else f"{one['iterations']} iterations"
        (line,) = [line for line in lines if line.split()[:1] == [one["backend"]] and budget in line]
        for kind in ("speakable", "unspeakable"):
            limit = one[kind] and one[kind]["limit"]
            assert ("–" if limit is None else f"{limit:.0e}") in line
        if one["tried"] != one["plants"]:
            assert f"({one['tried']} of {one['plants']})" in line
    for one in result["hidden"]:
        (line,) = [line for line in lines if line.split()[:1] == [one["method"]] and " restart" in line]
        found, truth = line.split()[1], line.split("per restart")[0]
        assert found == f"{one['found']:,}"
        assert f" {one['truth']:,} " in truth
        if one["estimates"]:
            assert f" {one['estimates'][0]['estimate']:,.0f} " in line
    assert "at least" in said
    assert "Over other domains" in said
    assert "free: " in said
