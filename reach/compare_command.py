"""`reach compare-solvers` without its command line: a finished scan in, solvers.parquet and solvers.json out."""

from __future__ import annotations

import datetime
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from reach.compare.compare import PARTS, Task, compare_on
from reach.compare.control_table import control_table
from reach.compare.detection import measure_detection
from reach.compare.grade import disagreements, grade, profile, sentence
from reach.compare.heads import CONTROLS, compare_domains, scan_quietly, task_from, task_from_scan, verdict_counts
from reach.compare.hidden import measure_hidden
from reach.compare.records import SOLVERS
from reach.compare.settings import CompareSettings
from reach.runs.atomic import RUN_AGAIN, write_json, write_whole
from reach.runs.domain_words import domain_entries
from reach.runs.environment import hardware, package_versions
from reach.runs.folder import RunFolder
from reach.strength.sample import judged_from_scan, judged_from_table
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
    judged = judged_from_table(run.verdicts())
    task = task_from("model", merged, judged, row_of, settings.sample, settings.seed)
    names = _names(run)
    problems: dict[str, Any] = {}
    records = _compare(task, chosen, settings, folder, quiet)
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
        "backends": describe_backends(),
        "settings_map": [row if isinstance(row, dict) else row.__dict__ for row in options.settings_map()],
        "versions": package_versions(),
        "hardware": hardware(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "problems": problems,
        "tokens": {str(t): names[t] for t in task.token_ids.tolist()},
    }
    if settings.strength:
        records += _strength(result, merged, judged.verdict[token_of], chosen, settings, folder, quiet)
    table = pa.Table.from_pylist(records, schema=SOLVERS)
    write_whole(run.path / "solvers.parquet", lambda partial: pq.write_table(table, partial), again=RUN_AGAIN)
    result["seconds"] = time.perf_counter() - started
    write_json(run.path / "solvers.json", json.loads(json.dumps(result, default=_plain)), again=RUN_AGAIN)
    return result


def _strength(
    result: dict[str, Any],
    merged: ArgmaxProblem,
    verdict: np.ndarray,
    chosen: list[Entry],
    settings: CompareSettings,
    folder: Path,
    quiet: bool,
) -> list[dict[str, Any]]:
    """Controls, domains, hidden tokens and detection limits, into the result; returns the controls' records."""
    records = []
    smaller = _for_controls(settings)
    tables: list[pa.Table] = []
    for name, build in CONTROLS.items():
        control = build(merged, settings.seed)
        found = scan_quietly(control, settings.jobs)
        judged = judged_from_scan(control, found)
        tables.append(control_table(name, control, found))
        task = task_from_scan(name, control, found, min(smaller.sample, control.v), settings.seed)
        mine = _compare(task, chosen, smaller, folder, quiet)
        result["problems"][name] = _outcome(task, mine, smaller, {}) | {"verdicts": verdict_counts(judged)}
        records += mine
    margins = pa.concat_tables(tables)
    file = folder.parent / "controls.parquet"
    write_whole(file, lambda partial: pq.write_table(margins, partial), again=RUN_AGAIN)
    result["domains"] = compare_domains(merged, settings.jobs)
    truth = np.array(["speakable" if v == "tied" else str(v) for v in verdict], dtype=object)
    with tqdm(total=5 * 5, desc="hidden tokens", unit="restart", disable=quiet, dynamic_ncols=True) as bar:
        result["hidden"] = measure_hidden(merged, truth, settings.seed, lambda _, n: bar.update(n))
    with tqdm(desc="detection limits", unit="plant", disable=quiet, dynamic_ncols=True) as bar:
        result["detection"] = measure_detection(chosen, settings, folder, lambda _, n: bar.update(n))
    return records


def _for_controls(settings: CompareSettings) -> CompareSettings:
    record = settings.record() | {
        "sample": max(4, settings.sample // 2),
        "backend_seconds": settings.backend_seconds / 4,
    }
    return CompareSettings(**record)


def _compare(
    task: Task, chosen: list[Entry], settings: CompareSettings, folder: Path, quiet: bool
) -> list[dict[str, Any]]:
    total = len(chosen) * len(task.rows)
    with tqdm(total=total, desc=f"backends on {task.name}", unit="token", disable=quiet, dynamic_ncols=True) as bar:

        def progress(name: str, tokens: int) -> None:
            bar.set_postfix_str(name)
            bar.update(tokens)

        return compare_on(task, chosen, settings, folder, progress)


def _outcome(
    task: Task, records: list[dict[str, Any]], settings: CompareSettings, names: dict[int, str]
) -> dict[str, Any]:
    grades = grade(records, settings.seconds)
    for found in grades:
        found["sentence"] = sentence(found, names)
    strata: dict[str, int] = {}
    for stratum in task.strata:
        strata[stratum] = strata.get(stratum, 0) + 1
    return {
        "sample": {"size": len(task.rows), "strata": strata},
        "grades": grades,
        "disagreements": disagreements(records),
        "profile": profile(records, settings.seconds),
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


def comparison_lines(result: dict[str, Any]) -> list[str]:
    """The comparison for a person."""
    found = result["problems"]["model"]
    lines = [
        f"{result['model']}: {found['sample']['size']} tokens ({_listed(found['sample']['strata'])}), "
        f"{result['settings']['seconds']:g} s per token, tolerance {result['settings']['tolerance']:g}",
        "",
        f"  {'backend':<22}{'given':>6}{'verified':>9}{'claims':>8}{'right':>7}{'false no':>9}{'false yes':>10}"
        f"{'limit':>7}{'failed':>7}{'median s':>10}",
    ]
    for g in sorted(found["grades"], key=lambda g: (-g["verified"] / g["given"], g["seconds_median"])):
        lines.append(
            f"  {g['backend']:<22}{g['given']:>6}{g['verified']:>9}{g['claims']:>8}{g['right']:>7}"
            f"{g['false_unspeakable']:>9}{g['false_speakable']:>10}{g['limit_hit']:>7}"
            f"{sum(g['failures'].values()):>7}{g['seconds_median']:>10.3g}"
        )
    liars = [g for g in found["grades"] if g["false_unspeakable"] or g["false_speakable"]]
    if liars:
        lines += ["", "  False claims (the proofs of the scan say otherwise):"]
        for g in sorted(liars, key=lambda g: -len(g["wrong_tokens"])):
            wrong = ", ".join(result["tokens"].get(str(t), f"#{t}") for t in g["wrong_tokens"][:8])
            lines.append(f"    {g['backend']}: {len(g['wrong_tokens'])} tokens, such as {wrong}")
        lines += ["", *(f"  {g['sentence']}" for g in liars if g["false_unspeakable"])]
    return lines


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _names(run: RunFolder) -> dict[int, str]:
    table = run.verdicts()
    pairs = zip(table.column("token").to_pylist(), table.column("text").to_pylist(), strict=True)
    return {
        i: f"#{i}" if piece is None else f"{text if text is not None else piece!a} (#{i})"
        for i, (piece, text) in enumerate(pairs)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"cannot write {type(value).__name__}")
