"""The scripts that look at pages: what they say of bad input, and that they do what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import real_runs

from reports.write import write_reports

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(SCRIPTS / f"{script}.py"), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS.parent)}
    return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)


def test_places_without_pages_are_refused_in_one_line(tmp_path: Path):
    empty, text = tmp_path / "empty", tmp_path / "notes.txt"
    empty.mkdir()
    text.write_text("x")
    wrong = ((empty, "no page lies there"), (text, "neither a run folder nor a page"), ("gone", "neither"))
    for script in ("screenshots", "page_bench"):
        for place, why in wrong:
            ended = run(script, place)
            assert ended.returncode == 2
            assert ended.stderr.count("\n") == 1
            assert ended.stderr.startswith(f"{script}: {place}")
            assert why in ended.stderr


@pytest.mark.browser
def test_pages_are_photographed_and_measured(browser: object, tmp_path: Path):
    """Two folders of one name, so that the pictures' names must tell them apart."""
    page = write_reports([real_runs.scanned_in_part()])[0]
    for name in "ab":
        folder = tmp_path / name / "run"
        folder.mkdir(parents=True)
        shutil.copy(page, folder / "report.html")
    shutil.copy(real_runs.scanned_in_part() / "verdicts.parquet", tmp_path / "a" / "run")
    out = tmp_path / "pictures"
    ended = run("screenshots", tmp_path / "a" / "run", "--out", out)
    assert ended.returncode == 0, ended.stderr
    widths = {1400, 800, 390}
    expected = {
        f"run-report-{width}-{scheme}-{part}.png"
        for width in widths
        for scheme in ("light", "dark")
        for part in ("page", "token")
    }
    assert {one.name for one in out.glob("*.png")} == expected
    for one in out.glob("*.png"):
        width, height = (int.from_bytes(one.read_bytes()[at : at + 4], "big") for at in (16, 20))
        assert width == int(one.name.split("-")[2])
        assert ("-page" in one.name) == (height > 2000)
    shown = re.findall(r'src="([^"]+)"', (out / "index.html").read_text(encoding="utf-8"))
    assert set(shown) == expected
    # And the bench names two pages of one name differently
    ended = run("page_bench", "--times", 1, tmp_path / "a" / "run", tmp_path / "b" / "run")
    assert ended.returncode == 0, ended.stderr
    rows = [line.split(" | ") for line in ended.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == ["| run-report", "| run-report-2"]
    size = (tmp_path / "a" / "run" / "report.html").stat().st_size / 1e6
    assert all(float(row[1]) == pytest.approx(size, abs=0.005) and float(row[2]) > 0 for row in rows)
