"""`reach check` at the command line: what is asked, how it is said, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from gate_models import END, EOS, NAMED, PAD, model, save
from reach_command import reach


@pytest.fixture(scope="module")
def padded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with 32 random padding rows and an end-of-turn row of zeros."""

    def zero(head: torch.Tensor) -> None:
        head[END] = 0

    return save(model(128), tmp_path_factory.mktemp("gate") / "m", zero)


def test_what_is_said_of_a_failing_model(padded: Path) -> None:
    done = reach("check", padded)
    lines = done.out.splitlines()
    assert done.code == 1
    assert lines[0].startswith("FAIL '<|end|>' (95): must be said as eos (generation_config.json: eos_token_id), end")
    assert any(
        "must not come out as padding row (no entry in the tokenizer): each can be the argmax, by" in line
        for line in lines
    )
    assert lines[-3:] == ["must be said:      2 tokens, 1 fail", lines[-2], "failed"]
    assert lines[-2].startswith("must not come out: 33 tokens, ")


def test_junit_has_a_case_for_each_token(padded: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.xml"
    done = reach("check", padded, "--json", "--junit", file)
    record = json.loads(done.out)
    suite = ElementTree.parse(file).getroot()
    failed = [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None]
    assert int(suite.get("tests") or 0) == len(record["tokens"]) == len(list(suite.iter("testcase"))) == 35
    assert int(suite.get("failures") or 0) == len(failed) == sum(len(one["tokens"]) for one in record["findings"])
    assert "'<|end|>' (95)" in failed
    (case,) = [case for case in suite.iter("testcase") if case.get("name") == "'<|end|>' (95)"]
    assert "it is never the argmax" in (case.find("failure").text or "")  # type: ignore[union-attr]


def test_what_a_person_names_wins_over_the_files(padded: Path) -> None:
    record = json.loads(reach("check", padded, "--json", "--must", "<pad>", "--never", "'</s>',3").out)
    sides = {entry["token"]: entry["side"] for entry in record["tokens"]}
    assert (sides[PAD], sides[EOS], sides[3], sides[END]) == ("must", "never", "never", "must")
    only = json.loads(reach("check", padded, "--json", "--only", "--must", "5-6").out)
    assert [entry["token"] for entry in only["tokens"]] == [5, 6]
    assert only["tokens"][0]["roles"] == [{"name": "named", "where": "--must"}]


def test_lists_come_from_files(padded: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("w3\n10-12\n'<s>'\n", encoding="utf-8")
    record = json.loads(reach("check", padded, "--json", "--only", "--must", f"@{tmp_path / 'list.txt'}").out)
    assert [entry["token"] for entry in record["tokens"]] == [3, 10, 11, 12, 90]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--must", "5,w7", "--never", "7-8"),
            "--must and --never both name 'w7' (7): take them out of one of the two",
        ),
        (("--must", "nothing like it"), "--must 'nothing like it' is no token"),
        (("--never", "9999"), "--never 9999: the head has ids 0 to 127"),
        (("--never", "@/no/such"), "--never @/no/such: the file cannot be read"),
        (("--only",), "there is nothing to decide"),
        (("--margin", "-1"), "--margin must be at least 0"),
    ],
)
def test_bad_input_is_one_line(padded: Path, arguments: tuple[str, ...], said: str) -> None:
    assert reach("check", padded, *arguments).complaint.startswith(said)


def test_damage_beside_the_head_is_a_note(tmp_path: Path) -> None:
    folder = save(model(), tmp_path / "m", suppress_tokens=[PAD], eos_token_id=[EOS, NAMED + 7])
    (folder / "chat_template.jinja").write_text("{% if %}", encoding="utf-8")
    done = reach("check", folder)
    assert done.code == 0
    assert "chat_template.jinja does not render (TemplateSyntaxError" in done.err
    assert "ids that have no row in the head of 96: generation_config.json: eos_token_id is 103" in done.err
