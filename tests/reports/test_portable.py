"""Pages are shared: none of them, nor what its scripts draw, names a folder of the machine that made it."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import real_runs

from reports import plain
from reports.portable import portable, portable_command
from reports.write import write_reports


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/ada/models/m", "m"),
        ("/home/ada/my models/m.gguf", "m.gguf"),
        ("/home/ada/models/m/", "m"),
        ("~/models/m", "m"),
        (r"C:\Users\Ada Byron\m.npz", "m.npz"),
        (r"\\server\share\m", "m"),
        ("file:///home/ada/m", "m"),
        ("/home/ada/m/config.json: it names no norm, and/or two.", "config.json: it names no norm, and/or two."),
        ("the file '/home/ada b/m.json' has gone", "the file 'm.json' has gone"),
        ("read from /home/ada/m.json, then (/tmp/x/y).", "read from m.json, then (y)."),
        ("ellipsoid:/home/ada/e.npz", "ellipsoid:e.npz"),
        # What is no path of this machine stays.
        ("openai-community/gpt2", "openai-community/gpt2"),
        ("models/m", "models/m"),
        ("../m", "../m"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("logits / second and/or 1/2", "logits / second and/or 1/2"),
        ("/", "/"),
        ("", ""),
    ],
)
def test_an_absolute_path_is_cut_down_to_its_last_part(text: str, shown: str):
    assert portable(text) == shown


def test_a_command_keeps_what_a_person_wrote_as_text():
    words = ["reach", "scan", "/home/ada/m", "--out=/tmp/a/b", "--domain", "ellipsoid:/home/e", "--tokens"]
    assert portable_command([*words, "/usr/bin"]) == "reach scan m --out=b --domain ellipsoid:e --tokens /usr/bin"
    assert portable_command(["reach", "--tokens", "@/home/ada/my tokens"]) == "reach --tokens '@my tokens'"
    assert portable_command(["reach", "search", "--prefix=/usr/bin"]) == "reach search --prefix=/usr/bin"


def test_texts_among_settings_are_no_paths():
    settings = {"prefix": "/usr/bin/x", "file": "/usr/bin/x"}
    assert list(plain.flat(settings, texts=("prefix",))) == [("prefix", "/usr/bin/x"), ("file", "x")]


def contents(page: Path) -> str:
    """What a page shows: its markup, and what it has packed for its scripts."""
    text = page.read_text(encoding="utf-8")
    packed = re.findall(r'id="data">\s*([A-Za-z0-9+/=]+)\s*</script>', text)
    unpacked = (zlib.decompress(base64.b64decode(one)) for one in packed)
    return "\n".join([text, *(one.decode("utf-8", "replace") for one in unpacked)])


RUNS = [
    real_runs.scanned,
    real_runs.scanned_with_silencers,
    real_runs.compared_shortly,
    real_runs.searched,
    real_runs.measured,
]


@pytest.mark.parametrize("made", RUNS)
def test_no_page_of_a_run_names_a_folder_of_this_machine(made: Callable[[], Path], tmp_path: Path):
    place = str(made().parent)
    records = [*made().glob("*.json")]
    assert any(place in record.read_text(encoding="utf-8") for record in records)
    for page in write_reports([made()], tmp_path / "report.html"):
        assert place not in contents(page), page.name


def test_nor_do_pages_of_several_runs(tmp_path: Path):
    runs = [real_runs.scanned(), real_runs.scanned_with_margins()]
    place = str(runs[0].parent)
    for page in (
        *write_reports(runs, tmp_path / "compare.html"),
        *write_reports([], tmp_path / "index.html", index=runs[0].parent),
        *write_reports(runs[:1], tmp_path / "run.md", markdown=True),
    ):
        assert place not in contents(page), page.name
