"""Types every command of README.md and docs/ in order, in a bare clone, and stops at the first that does not work.

The clone's demo model is cut to its first tokens, and commands that would take minutes get small budgets. Commands of
a page follow each other in one folder, which is empty at first but for the packages. Of `make` only the target `scan`
is followed; the others, `pip` and the scripts are only looked up. Python that imports nothing is an excerpt.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).resolve().parents[1]
TOKENS = 350
BUDGETS = {
    "search": ["--budget", "3", "--levels", "tokens"],
    "interference": ["--seeds", "1", "--without", "blocks,dictionary,reinitialised"],
    "compare-solvers": ["--backends", "own-row,clarabel", "--sample", "2", "--backend-seconds", "1", "--no-strength"],
}
FINDERS = ("check",)
"""Commands that end with 1 where they find something."""


class Broken(Exception):
    """A command of a page does not do what the page says."""


def main() -> None:
    """Try every page, or those named."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        bare_clone(clone)
        cut_demo_model(clone / "reach" / "demo_model")
        sys.path.insert(0, str(clone))
        for page in (clone / "README.md", *sorted((clone / "docs").glob("*.md"))):
            place = Path(folder) / page.stem
            place.mkdir()
            (place / "reach").symlink_to(clone / "reach")
            with contextlib.chdir(place):
                for command in commands(page.read_text(encoding="utf-8")):
                    began = time.monotonic()
                    follow(command, clone)
                    sys.stderr.write(f"{time.monotonic() - began:6.1f} s  {page.name}: {command.splitlines()[0]}\n")


def bare_clone(clone: Path) -> None:
    """The files that git tracks, as they are now, and no others."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, clone / name)


def cut_demo_model(folder: Path) -> None:
    """The same model with its first tokens only."""
    weights = load_file(folder / "model.safetensors")
    full = json.loads((folder / "config.json").read_text())["vocab_size"]
    cut = {name: rows[:TOKENS] if rows.shape[0] == full else rows for name, rows in weights.items()}
    save_file(cut, folder / "model.safetensors", metadata={"format": "pt"})
    for name, change in (("config.json", _cut_config), ("tokenizer.json", _cut_tokenizer)):
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))


def _cut_config(config: dict) -> None:
    config["vocab_size"] = TOKENS


def _cut_tokenizer(tokenizer: dict) -> None:
    model = tokenizer["model"]
    model["vocab"] = {piece: number for piece, number in model["vocab"].items() if number < TOKENS}
    model["merges"] = [pair for pair in model["merges"] if {*pair, "".join(pair)} <= model["vocab"].keys()]


def commands(text: str) -> Iterator[str]:
    """The commands of a page's code blocks, in order; a Python block is one command."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        if language == "python" and block.startswith(("import ", "from ")):
            yield f"python -c {shlex.quote(block)}"
        elif not language:
            yield from (line for line in block.splitlines() if re.match(r"(reach|make|pip|python)\s", line))


def follow(command: str, clone: Path) -> None:
    """Do what a line says.

    Raises:
        Broken: it cannot be done.
    """
    words = shlex.split(command, comments=True)
    if words[0] == "reach":
        _reach(words[1:])
    elif words[0] == "make":
        # Within another make this one would say which folder it is in.
        alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        planned = ["make", "-n", "--no-print-directory", *words[1:]]
        plan = subprocess.run(planned, cwd=clone, env=alone, capture_output=True, text=True, check=False)
        if plan.returncode:
            raise Broken(f"{command}: {plan.stderr}")
        if words[1] == "scan":
            _reach(shlex.split(plan.stdout.strip().splitlines()[-1])[1:])
    elif words[:2] == ["pip", "install"]:
        known = tomllib.loads((clone / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        if not set(re.findall(r"\[(.*?)\]", command)) <= known.keys():
            raise Broken(f"{command}: no such extra")
    elif words[1] == "-c":
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(words[2], command, "exec"), {"__name__": "__main__"})
    elif not (clone / words[1]).is_file():
        raise Broken(f"{command}: no such file")


def _reach(words: list[str]) -> None:
    """One command in this process; what it finds, or a condition that it was asked to fail on, is no failure."""
    from reach.cli import main as reach

    target = words.index(">") if ">" in words else len(words)
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            reach([*words[:target], *BUDGETS.get(words[0], [])])
        except SystemExit as end:
            code = int(end.code or 0)
    if code not in ((0, 1) if "--fail-on" in words or words[0] in FINDERS else (0,)):
        raise Broken(f"reach {shlex.join(words)}: exit code {code}: {err.getvalue()}")
    if target < len(words):
        Path(words[target + 1]).write_text(out.getvalue(), encoding="utf-8")


if __name__ == "__main__":
    main()
