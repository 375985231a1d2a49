"""From a model's name to a search: the live model, its tokenizer, and the scan that it begins with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reach.demo import DEMO_NAME, demo_model
from reach.heads.adapter import CONFIG as ADAPTER_CONFIG
from reach.heads.hub import CachedFiles
from reach.heads.loading import Loading
from reach.loading import is_at_hand, load_again
from reach.runs.folder import RunFolder
from reach.runs.lock import locked
from reach.scan_command import ScanOrder, scan_to_folder
from reach.scanning.settings import ScanSettings
from reach.search.command import Say, SearchOrder, search_to_folder, silent
from reach.search.live import LiveModel, load_live_model
from reach.search.nano_prompts import require_nanogcg
from reach.search.roundtrip import RoundTrip, load_tokenizer
from reach.search.settings import SearchSettings
from reach.search.stored import refuse_overwriting
from reach.search.verdicts import HeadVerdicts, read_verdicts
from reach.token_choice import choose_tokens
from reach.vocabulary import load_vocabulary
from solvers.errors import BadInput


def run_search(
    name: str,
    loading: Loading,
    out: Path,
    settings: SearchSettings,
    *,
    tokens: str | None = None,
    resume: bool = False,
    force: bool = False,
    say: Say = silent,
    fetch: bool = True,
) -> dict[str, Any]:
    """Load everything and search.

    Args:
        name: the model as the user named it.
        loading: what finds it again.
        out: the run folder.
        settings: the search's.
        tokens: the choice of tokens as text.
        resume: go on with an unfinished search.
        force: overwrite an earlier one.
        say: told what goes on.
        fetch: whether the Hub may be asked. If not, a Hub id finds what is in the Hub cache.

    Raises:
        BadInput, MissingExtra: as one line for the user; another process holding the folder is one reason.
    """
    with locked(out):
        refuse_overwriting(out, resume=resume, force=force)
        if settings.guided == "nanogcg":
            require_nanogcg()
        folder, revision = _place(loading, fetch)
        if Path(folder).is_file():
            raise BadInput(f"{name}: a bare head has no inputs to search; give a model folder or a Hub id")
        if loading.adapter == "merge":
            raise BadInput(
                f"{name}: a search runs the model as it is stored, without the adapter beside it: merge it into the "
                "model's files first, or say --adapter ignore"
            )
        say("loading", 0, 0)
        with _hint_at_fetching(loading, fetch):
            model = load_live_model(folder, name, revision=revision)
        notes: list[str] = []
        tokenizer = load_tokenizer(folder, revision, notes)
        if (Path(folder) / ADAPTER_CONFIG).is_file():
            notes.append(f"{folder}/{ADAPTER_CONFIG}: the search runs the model alone, without the adapter beside it")
        trip = RoundTrip(tokenizer, settings.prefix, settings.suffix, bos=settings.bos)
        live = LiveModel(model, name, trip.before, trip.after, settings.device)
        for length in settings.lengths:
            live.check_length(length)
        say("head verdicts", 0, 0)
        verdicts, head_folder, more = _head_verdicts(name, loading, fetch, out, settings, live.v)
        vocabulary = load_vocabulary(head_folder or (Path(folder) if Path(folder).is_dir() else None), live.v)
        chosen = None if tokens is None else choose_tokens(tokens, vocabulary, live.v)
        order = SearchOrder(name, loading, tokens, tuple(notes + more + vocabulary.warnings))
        return search_to_folder(
            live, trip, vocabulary, verdicts, out, settings, order, chosen=chosen, resume=resume, force=force, say=say
        )


def _place(loading: Loading, fetch: bool) -> tuple[str, str | None]:
    """Folder or Hub id of the model, and its revision; a folder wherever the Hub may not be asked."""
    model, revision = str(loading.model), loading.revision
    if model == DEMO_NAME:
        return str(demo_model()), None
    if fetch or is_at_hand(model):
        return model, revision
    return str(CachedFiles(model, revision).folder), None


@contextmanager
def _hint_at_fetching(loading: Loading, fetch: bool) -> Iterator[None]:
    """Where only the Hub cache was looked at, a complaint says so."""
    try:
        yield
    except BadInput as error:
        if fetch or is_at_hand(str(loading.model)):
            raise
        more = "only its files in the Hub cache were looked at: name the model on the command line to fetch more"
        raise BadInput(f"{error}; {more}") from None


def _head_verdicts(
    name: str, loading: Loading, fetch: bool, out: Path, settings: SearchSettings, v: int
) -> tuple[HeadVerdicts | None, Path | None, list[str]]:
    """The verdicts of the scan in the folder, which is made where there is none yet."""
    try:
        head = load_again(loading, fetch=fetch)
    except BadInput as error:
        # The live model may be of a kind whose head is not known yet: it can be searched all the same.
        return None, None, [f"no head verdicts, nothing is known to be out of reach: {' '.join(str(error).split())}"]
    if head.v != v:
        raise BadInput(f"{name}: the head has {head.v} rows, but the live model {v} logits")
    problem = head.problem()
    if (out / "manifest.json").is_file():
        run = RunFolder.open(out, finished=False)
        if run.manifest.get("status") == "finished":
            return read_verdicts(run, problem.fingerprint, head), head.folder, [*head.notes]
    vocabulary = load_vocabulary(head.folder, head.v)
    order = ScanOrder(name, loading, None, (), (*head.notes, *vocabulary.warnings))
    scanning = ScanSettings(jobs=settings.jobs, device=settings.device)
    resumed = (out / "manifest.json").is_file()
    notes = [*head.notes]
    run = scan_to_folder(
        head, problem, vocabulary, out, scanning, order, resume=resumed, quiet=True, note=notes.append
    )
    return read_verdicts(run, problem.fingerprint, head), head.folder, notes
