"""`reach interference` without its command line: a head in, the files of a run folder out."""

from __future__ import annotations

import datetime
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reach.heads.head import Head
from reach.heads.loading import Loading
from reach.interference.settings import InterferenceSettings
from reach.interference.speakability import join, verdicts_of
from reach.interference.statistics import STATISTICS
from reach.interference.stored import SCHEMA_VERSION, read_result, refuse_overwriting, write_result
from reach.interference.study import Say, control_titles, silent, study
from reach.runs.environment import hardware, package_versions, peak_memory_bytes
from reach.runs.folder import RunFolder
from reach.runs.lock import locked
from reach.vocabulary import Vocabulary
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem


@dataclass(frozen=True)
class InterferenceOrder:
    """What the record says of the question.

    Attributes:
        name: the model as the user named it.
        loading: what finds the same head again.
        beside: run folders of other checkpoints or seeds to show beside this one.
        warnings: one line each.
    """

    name: str
    loading: Loading
    beside: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()


def interference_to_folder(
    head: Head,
    vocabulary: Vocabulary,
    out: Path,
    settings: InterferenceSettings,
    order: InterferenceOrder,
    *,
    force: bool = False,
    say: Say = silent,
) -> dict[str, Any]:
    """Measure a model and write `interference.json` and `interference.parquet` into a folder.

    A finished scan of the same model in that folder is joined with the measurement.

    Returns:
        The record that was written.

    Raises:
        BadInput: the folder holds a result (without `force`) or another model's scan, another process is writing to
            it, a run to put beside this one has no result, or the model cannot be measured.
        MissingExtra: scikit-learn is missing and its parts were not left out.
    """
    with locked(out):
        started = time.perf_counter()
        refuse_overwriting(out, force=force)
        others = [_beside(folder) for folder in order.beside]
        problem = head.problem()
        verdicts, reason = None, None
        if (out / "manifest.json").is_file():
            run = RunFolder.open(out, finished=False)
            if run.manifest.get("status") == "finished":
                verdicts = verdicts_of(run, problem.fingerprint)
            else:
                reason = f"the scan in {out} has not finished"
        else:
            reason = f"there is no scan in {out}: run 'reach scan' with the same --out first"
        found = study(head, vocabulary, settings, say)
        speakability: dict[str, Any] = {"reason": reason}
        if verdicts is not None:
            say("joining with the scan")
            speakability |= join(found.columns, verdicts, _offset(problem))
        record = {
            "schema": SCHEMA_VERSION,
            "kind": "interference",
            "model": order.name,
            "loading": order.loading.record(),
            "fingerprint": problem.fingerprint,
            "v": problem.v,
            "d": problem.d,
            "norm": head.norm,
            "tie": head.tie,
            "settings": settings.record(),
            "statistics": [{"key": s.key, "title": s.title, "words": s.words} for s in STATISTICS],
            "controls": control_titles(),
            **found.record,
            "speakability": speakability,
            "beside": others,
            "warnings": [*order.warnings, *found.warnings],
            "command": ["reach", *sys.argv[1:]],
            "versions": package_versions() | package_versions(("scikit-learn", "transformers")),
            "hardware": hardware(),
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": time.perf_counter() - started,
            "peak_memory_bytes": peak_memory_bytes(),
        }
        write_result(out, record, found.columns, force=force)
        return record


def _offset(problem: ArgmaxProblem) -> np.ndarray | None:
    return None if problem.zero_offset else problem.offset.numpy()


def _beside(folder: Path) -> dict[str, Any]:
    """What is shown of another run: the statistics of its cases, and how well its indicators predict."""
    if not folder.is_dir():
        raise BadInput(f"--beside {folder}: no such run folder")
    other = read_result(folder)
    speakability = {key: value for key, value in other["speakability"].items() if key != "scatter"}
    for row in speakability.get("indicators", ()):
        for question in ("unspeakable", "hard_to_speak"):
            if row.get(question):
                row[question] = {k: v for k, v in row[question].items() if k not in ("false_rate", "true_rate")}
    cases = [{key: case[key] for key in ("rows", "centred", "n", "d", "statistics")} for case in other["cases"]]
    return {"run": str(folder), "model": other["model"], "cases": cases, "speakability": speakability}
