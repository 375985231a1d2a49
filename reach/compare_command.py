"""`reach compare-solvers` without its command line: a finished scan in, solvers.parquet and solvers.json out."""

from __future__ import annotations

import datetime
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from reach.compare.compare import PARTS, Round, Task, compare_rounds
from reach.compare.control_table import control_table
from reach.compare.detection import measure_detection
from reach.compare.grade import disagreements, grade, profile, sentence
from reach.compare.heads import (
    CONTROL_PART,
    CONTROLS,
    compare_domains,
    merged_verdicts,
    scan_quietly,
    task_from,
    task_from_scan,
    unjudged,
    verdict_counts,
)
from reach.compare.hidden import METHODS, RESTARTS, measure_hidden
from reach.compare.records import SOLVERS
from reach.compare.seconds import longest
from reach.compare.settings import CompareSettings
from reach.runs.atomic import RUN_AGAIN, write_json, write_whole
from reach.runs.domain_words import domain_entries
from reach.runs.environment import hardware, package_versions
from reach.runs.folder import RunFolder
from reach.strength.sample import Judged, judged_from_scan, judged_from_table
from solvers import options
from solvers.checks.equal_rows import equal_row_classes
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem
from solvers.registry import Entry, entries

COMPARISON_SCHEMA = 1


def choose_backends(names: list[str] | None, problem: ArgmaxProblem) -> list[Entry]:
    """The backends to compare: those named, or all that are installed and can do the problem.

    Raises:
        BadInput: a name is unknown, not installed, or cannot do this problem (the message says which can).
    """
    known = {entry.name: entry for entry in entries()}
    if names is None:
        return [e for e in known.values() if e.missing() is None and e.load().why_not(problem) is None]
    chosen = []
    for name in names:
        from solvers.registry import backend

        reason = backend(name).why_not(problem)
        if reason is not None:
            able = [e.name for e in known.values() if e.missing() is None and e.load().why_not(problem) is None]
            raise BadInput(f"{reason}; these can: {', '.join(able)}")
        chosen.append(known[name])
    return chosen


def compare_solvers(
    run: RunFolder, problem: ArgmaxProblem, settings: CompareSettings, *, quiet: bool
) -> dict[str, Any]:
    """Compare backends on the head of a finished scan; writes RUN/solvers.parquet and RUN/solvers.json.

    Raises:
        BadInput: the run is of another model, or the sample is larger than what it judged.
    """
    if run.manifest["fingerprint"] != problem.fingerprint:
        raise BadInput(f"{run.path}: this run is of another model; give another --out")
    started = time.perf_counter()
    folder = run.path / PARTS
    chosen = [entry for entry in entries() if entry.name in settings.backends]
    first_of = equal_row_classes(problem).numpy()
    token_of = np.unique(first_of)
    row_of = np.searchsorted(token_of, first_of)
    merged = problem if len(token_of) == problem.v else problem.restrict(torch.from_numpy(token_of))
    judged = judged_from_table(run.verdicts().table)
    task = task_from("model", merged, judged, row_of, settings.sample, settings.seed)
    names = _names(run)
    problems: dict[str, Any] = {}
    (records,) = _compare([Round(task, chosen, settings)], folder, quiet)
    problems["model"] = _outcome(task, records, settings, names) | {"verdicts": verdict_counts(judged)}
    result: dict[str, Any] = {
        "schema": COMPARISON_SCHEMA,
        "kind": "compare",
        "model": run.manifest["model"],
        "fingerprint": run.manifest["fingerprint"],
        "v": problem.v,
        "d": problem.d,
        **domain_entries(problem.domain),
        "settings": settings.record(),
        "longest": longest(settings),
        "backends": describe_backends(),
        "settings_map": [asdict(row) for row in options.settings_map()],
        "versions": package_versions(),
        "hardware": hardware(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "problems": problems,
        "tokens": {str(t): names[t] for t in task.token_ids.tolist()},
    }
    if settings.strength:
        records += _strength(result, merged, merged_verdicts(judged, token_of), chosen, settings, folder, quiet)
    table = pa.Table.from_pylist(records, schema=SOLVERS)
    write_whole(run.path / "solvers.parquet", lambda partial: pq.write_table(table, partial), again=RUN_AGAIN)
    result["seconds"] = time.perf_counter() - started
    write_json(run.path / "solvers.json", json.loads(json.dumps(result, default=_plain)), again=RUN_AGAIN)
    return result


def _strength(
    result: dict[str, Any],
    merged: ArgmaxProblem,
    judged: Judged,
    chosen: list[Entry],
    settings: CompareSettings,
    folder: Path,
    quiet: bool,
) -> list[dict[str, Any]]:
    """Controls, domains, hidden tokens and detection limits, into the result; returns the controls' records."""
    smaller = replace(settings.share(CONTROL_PART), sample=max(4, settings.sample // 2))
    tables: list[pa.Table] = []
    rounds: list[Round] = []
    counts: list[dict[str, int]] = []
    for name, build in CONTROLS.items():
        control = build(merged, settings.seed)
        found = scan_quietly(control, settings.jobs, settings.backend_seconds)
        beside = judged_from_scan(control, found)
        tables.append(control_table(name, control, found))
        size = min(smaller.sample, control.v - unjudged(beside))
        if size:
            rounds.append(Round(task_from_scan(name, control, found, size, settings.seed), chosen, smaller))
            counts.append(verdict_counts(beside))
    records = []
    for one, mine, verdicts in zip(rounds, _compare(rounds, folder, quiet), counts, strict=True):
        result["problems"][one.task.name] = _outcome(one.task, mine, smaller, {}) | {"verdicts": verdicts}
        records += mine
    margins = pa.concat_tables(tables)
    file = folder.parent / "controls.parquet"
    write_whole(file, lambda partial: pq.write_table(margins, partial), again=RUN_AGAIN)
    result["domains"] = compare_domains(merged, settings.jobs, judged, settings.backend_seconds)
    truth = np.array([str(verdict) for verdict in judged.verdict], dtype=object)
    restarts = len(METHODS) * RESTARTS
    with tqdm(total=restarts, desc="hidden tokens", unit="restart", disable=quiet, dynamic_ncols=True) as bar:
        result["hidden"] = measure_hidden(
            merged, truth, settings.seed, lambda _, n: bar.update(n), settings.backend_seconds
        )
    with tqdm(desc="detection limits", unit="plant", disable=quiet, dynamic_ncols=True) as bar:
        result["detection"] = measure_detection(chosen, settings, folder, lambda _, n: bar.update(n))
    return records


def _compare(rounds: list[Round], folder: Path, quiet: bool) -> list[list[dict[str, Any]]]:
    total = sum(len(one.entries) * len(one.task.rows) for one in rounds)
    words = f"backends on {', '.join(one.task.name for one in rounds)}"
    with tqdm(total=total, desc=words, unit="token", disable=quiet, dynamic_ncols=True) as bar:

        def progress(name: str, tokens: int) -> None:
            bar.set_postfix_str(name)
            bar.update(tokens)

        return compare_rounds(rounds, folder, progress)


def _outcome(
    task: Task, records: list[dict[str, Any]], settings: CompareSettings, names: dict[int, str]
) -> dict[str, Any]:
    grades = grade(records, settings.token_seconds)
    for found in grades:
        found["sentence"] = sentence(found, names)
    strata: dict[str, int] = {}
    for stratum in task.strata:
        strata[stratum] = strata.get(stratum, 0) + 1
    return {
        "sample": {"size": len(task.rows), "strata": strata},
        "grades": grades,
        "disagreements": disagreements(records),
        "profile": profile(records, settings.token_seconds),
    }


def _describe(entry: Entry) -> dict[str, Any]:
    reason = entry.missing()
    if reason is not None:
        return {"name": entry.name, "missing": reason}
    kind = entry.load()
    can = kind.capabilities
    return {
        "name": entry.name,
        "version": kind.version(),
        "domains": [domain.__name__ for domain in can.domains],
        "offsets_on_free": can.offsets_on_free,
        "batched": can.batched,
        "devices": list(can.devices),
        "proves_negative": can.proves_negative,
        "complete": can.complete,
        "note": getattr(can, "note", ""),
    }


def describe_backends() -> list[dict[str, Any]]:
    """All backends, with capabilities and versions, or with the reason why one is missing."""
    return [_describe(entry) for entry in entries()]


def _names(run: RunFolder) -> dict[int, str]:
    verdicts = run.verdicts()
    return {i: verdicts.label(i) for i in range(len(verdicts))}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"cannot write {type(value).__name__}")
