"""Series, step and factors from names and from a plan."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach.trace.naming import Place, factors_of, place_of, split_step
from reach.trace.plan import planned_for, read_plan
from solvers.errors import BadInput


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("checkpoint-21", ("", 21)), ("step1000", ("", 1000)), ("global_step500", ("", 500)),
        ("iter_000500", ("", 500)), ("20", ("", 20)), ("run-300", ("run", 300)),
        ("epoch-3-step-200", ("epoch-3", 200)),
        ("adamw-seed-0-checkpoint-21", ("adamw-seed-0", 21)), ("pythia-70m-step143000", ("pythia-70m", 143000)),
        ("step1000-tokens4B", ("", 1000)), ("olmo-step5_tokens0.5b", ("olmo", 5)),
        ("step7-tokenizer2", ("tokenizer2", 7)),
        ("model@step512", ("model", 512)), ("checkpoint-0", ("", 0)), ("Checkpoint-7", ("", 7)),
        ("adamw-seed-0", None), ("seed=0", None), ("wd=0.1", None), ("wd-0.1", None), ("lr-3", None),
        ("pythia-70m", None), ("gpt2", None), ("stories260k", None), ("onmt-lm", None), ("", None),
    ],
)  # fmt: skip
def test_a_step_is_a_number_that_belongs_to_no_other_word(name, told):
    assert split_step(name) == told


@pytest.mark.parametrize(
    ("name", "factors"),
    [
        ("adamw-seed-0", {"optimizer": "adamw", "seed": "0"}),
        ("sgd/seed1", {"optimizer": "sgd", "seed": "1"}),
        ("opt=lion,wd=0.1,seed=3", {"optimizer": "lion", "weight_decay": "0.1", "seed": "3"}),
        ("weight-decay-0.01_lr-3e-4", {"weight_decay": "0.01", "learning_rate": "3e-4"}),
        ("data=wiki", {"data": "wiki"}),
        ("pythia-70m-seed3", {"seed": "3"}),
        ("madam-x", {}),
    ],
)
def test_factors_are_the_words_of_a_name(name, factors):
    assert factors_of(name) == factors


@pytest.mark.parametrize(
    ("path", "model", "revision", "place"),
    [
        ("/r/adamw-seed-0/checkpoint-21", None, None, Place("adamw-seed-0", 21, {"optimizer": "adamw", "seed": "0"})),
        ("/r/flat/adam-seed-2-checkpoint-5", None, None, Place("adam-seed-2", 5, {"optimizer": "adam", "seed": "2"})),
        ("/r/some-run", "EleutherAI/pythia-70m", "step1000", Place("pythia-70m", 1000)),
        ("/r/some-run", "/models/wide/checkpoint-9", None, Place("wide", 9)),
        ("/r/checkpoint-3", "/models/wide/checkpoint-9", "step4", Place("r", 3)),
        ("/r/demo", "demo", "main", Place(None, None)),
    ],
)
def test_the_folder_says_first_then_the_revision_then_the_model(path, model, revision, place):
    assert place_of(PurePosixPath(path), model, revision) == place


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_name_has_a_place_or_none(one, other):
    split = split_step(one)
    assert split is None or split[1] >= 0
    place = place_of(PurePosixPath("/a") / one.replace("\0", ""), other, other)
    assert (place.step is None) == (place.series is None) or place.step is not None


def plan(folder: Path, text: str) -> Path:
    file = folder / "plan.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_plan_says_what_names_do_not(tmp_path: Path):
    lines = read_plan(plan(tmp_path, "\ufeffrun,series,step,weight_decay,note\na/x,one,10,0.1,\n\nx,,3,,late\n"))
    assert [(str(one.run), one.series, one.step, one.factors) for one in lines] == [
        ("a/x", "one", 10, {"weight_decay": "0.1"}),
        ("x", None, 3, {"note": "late"}),
    ]
    assert planned_for(Path("/runs/a/x"), lines) is lines[0]  # the longer one
    assert planned_for(Path("/runs/b/x"), lines) is lines[1]
    assert planned_for(Path("/runs/b/xx"), lines) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its first line must name its columns"),
        ("series,step\na,1\n", "`run` among them"),
        ("run,run\na,b\n", "each once"),
        ("run,step\na\n", "line 2: 1 cells under 2 columns"),
        ("run,step\na,1.5\n", "the step '1.5' is no whole number"),
        ("run,step\na,-1\n", "the step '-1' is no whole number"),
        ("run,step\n,1\n", "line 2: names no run"),
        ("run,step\n", "names no run"),
        ("run\na\na/\n", "a is there more than once"),
        ('run\n"a\n', "not readable as CSV"),
    ],
)
def test_what_is_no_plan_is_refused_in_a_line(tmp_path: Path, text: str, said: str):
    with pytest.raises(BadInput) as caught:
        read_plan(plan(tmp_path, text))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
