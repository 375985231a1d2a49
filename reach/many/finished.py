"""Whether a run folder answers a question already."""

from __future__ import annotations

from pathlib import Path

from reach.bounded import is_there
from reach.heads.loading import Loading
from reach.runs.folder import RunFolder
from reach.runs.manifest import FILE
from reach.runs.writing import lasting
from reach.scanning.settings import ScanSettings
from solvers.errors import BadInput


def finished_run(out: Path, loading: Loading, tokens: str | None, settings: ScanSettings) -> RunFolder | None:
    """The finished run of this model with these settings; none where there is nothing, or what has not ended.

    The model is the one of that place: whether its files are still the same is for `reach verify` to say.

    Raises:
        BadInput: a finished run of another model, of other tokens, or with other settings is there.
    """
    if not is_there(out / FILE):
        return None
    run = RunFolder.open(out, finished=False)
    if not run.finished:
        return None
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


def is_unfinished(out: Path) -> bool:
    """Whether a run folder holds a scan that can be gone on with.

    Raises:
        BadInput: its manifest cannot be read.
    """
    return is_there(out / FILE) and not RunFolder.open(out, finished=False).finished
