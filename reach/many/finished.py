"""Whether a run folder answers a question already, or has begun to."""

from __future__ import annotations

from pathlib import Path

from reach.bounded import is_there
from reach.heads.loading import Loading
from reach.runs.folder import RunFolder
from reach.runs.manifest import FILE
from reach.runs.writing import lasting
from reach.scanning.settings import ScanSettings
from solvers.errors import BadInput


def run_there(out: Path, loading: Loading, tokens: str | None, settings: ScanSettings) -> RunFolder | None:
    """The run of a folder: one that has not ended, or a finished one of this model with these settings; or none.

    The model is the one of that place: whether its files are still the same is for `reach verify` to say.

    Raises:
        BadInput: a finished run of another model, of other tokens, or with other settings is there; or the manifest
            cannot be read.
    """
    if not is_there(out / FILE):
        return None
    run = RunFolder.open(out, finished=False)
    if not run.finished:
        return run
    before = run.record
    differs = (
        "of another model" if before.loading != loading
        else "of other tokens" if before.asked is None or before.asked.tokens != tokens
        else "with other settings" if lasting(before.settings) != lasting(settings.record())
        else None
    )  # fmt: skip
    if differs is not None:
        raise BadInput(f"{out}: holds a finished run {differs}; overwrite it with --force, or choose another --runs")
    return run
