"""What a person gets who installs a wheel, types what the pages say, or reads which options there are."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
from reach_command import ROOT

SCRIPTS = ROOT / "scripts"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def run(*command: object, cwd: Path, **variables: str) -> str:
    """The standard output of a command that sees no other copy of the project."""
    known = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    ended = subprocess.run(list(map(str, command)), cwd=cwd, env=known, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the project's wheel, and lends what it depends on from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    script: dict[str, Any] = runpy.run_path(str(SCRIPTS / "try_readme.py"))
    script["bare_clone"](folder / "clone")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder / "clone", cwd=folder)
    run(sys.executable, "-m", "venv", "--without-pip", folder / "env", cwd=folder)
    python = folder / "env" / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


def test_a_wheel_scans(installed: Path) -> None:
    scan = ("scan", "--tokens", "0-9", "--out", "run", "--quiet", "--jobs", "1")
    said = run(installed / "env" / "bin" / "reach", *scan, cwd=installed)
    assert "demo: 4000 tokens × 32 dimensions" in said
    assert (installed / "run" / "report.html").stat().st_size > 10_000


def test_a_wheel_can_be_imported(installed: Path) -> None:
    files = run(
        installed / "env" / "bin" / "python",
        "-c",
        "import reach, reports, solvers, pathlib\n"
        "for package in (reach, reports, solvers):\n"
        "    folder = pathlib.Path(package.__file__).parent\n"
        "    print(folder, (folder / 'py.typed').is_file())",
        cwd=installed,
    ).splitlines()
    assert len(files) == 3
    for line in files:
        assert line.startswith(str(installed / "env"))
        assert line.endswith(" True")


def test_every_command_of_every_page_works() -> None:
    run(sys.executable, SCRIPTS / "try_readme.py", cwd=ROOT)


def test_the_page_of_commands_is_current() -> None:
    script = runpy.run_path(str(SCRIPTS / "command_docs.py"))
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert script["page"]() == page, "write it again with 'python scripts/command_docs.py'"


def test_what_the_main_commands_need_is_no_extra() -> None:
    needed = {re.split(r"[<>=]", one)[0] for one in PROJECT["dependencies"]}
    assert {"cvxpy", "huggingface_hub", "scikit-learn", "transformers"} <= needed
    assert not {"hub", "models", "interference", "cvxpy"} & PROJECT["optional-dependencies"].keys()


def test_hints_name_what_can_be_installed_from_a_clone() -> None:
    hints = []
    for package in ("solvers", "reach", "reports"):
        for file in (ROOT / package).rglob("*.py"):
            hints += re.findall(r"pip install[^\"]*", file.read_text(encoding="utf-8"))
    assert hints
    assert not [hint for hint in hints if "token-reachability" in hint]
