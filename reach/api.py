"""The functions that `import reach` gives: a head in, verdicts out, no files unless they are asked for."""

from __future__ import annotations

import contextlib
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import ArrayLike

from reach.ceilings import ceiling_scale
from reach.heads.head import Head
from reach.heads.hooked import hooked_head, is_hooked
from reach.heads.load import judged_over
from reach.heads.loading import Loading
from reach.heads.overrides import HeadOverrides
from reach.loading import load_again, what_to_load
from reach.options import default_jobs
from reach.progress import Progress, bars, in_a_terminal
from reach.runs.folder import RunFolder
from reach.runs.remote import RemoteFolder, is_url
from reach.scan_command import ScanOrder, new_manifest, scan_in_memory
from reach.scanning.settings import ScanSettings
from reach.served import check_served_head
from reach.token_choice import choose_tokens, token_by_text
from reach.verdicts import Verdicts
from reach.vocabulary import Vocabulary, load_vocabulary
from solvers.domains import Domain
from solvers.errors import BadInput


def load(
    source: str | Path | Mapping[str, Any] | torch.nn.Module | None = None,
    *,
    domain: str | Domain | None = None,
    tokenizer: Any = None,
    revision: str | None = None,
    adapter: str | None = None,
    fetch: bool = True,
    **overrides: Any,
) -> Head:
    """A model's head: its final norm, output matrix and bias, and nothing else of it.

    Args:
        source: a model folder, a GGUF file, a bare `.npz` or `.safetensors` head, a Hub id, or "demo" (also none); a
            live transformers model, or a HookedTransformer of TransformerLens; or arrays by the names of a bare head:
            W, and where there are such b, gamma, beta, norm, eps.
        domain: what the state z may be, such as `ball:3`; none takes the norm's, or all of R^d without one.
        tokenizer: of a live model, to name its tokens; none takes the model's own, if it holds one.
        revision: branch, tag or commit of a Hub model.
        adapter: `merge` or `ignore` an adapter beside the model; none refuses one that changes the head. Any other
            text is the folder of an adapter to be merged.
        fetch: whether the Hub may be asked; if not, its cache alone is.
        overrides: tensor names and norm settings by hand, see `reach.heads.overrides.HeadOverrides`.

    Raises:
        BadInput: anything missing, damaged or contradictory, in one line that says what to do.
    """
    words, chosen = (None, domain) if isinstance(domain, Domain) else (domain, None)
    if isinstance(source, Mapping):
        head = _from_arrays(source, words if chosen is None else "free", overrides)
    elif is_hooked(source):
        head = _from_hooked(source, tokenizer, words, overrides)
    elif isinstance(source, torch.nn.Module):
        head = _from_live(source, tokenizer, words, overrides)
    else:
        name, loading = what_to_load(
            None if source is None else str(source),
            domain=words,
            revision=revision,
            overrides=HeadOverrides(**overrides),
            adapter=adapter,
        )
        head = replace(load_again(loading, fetch=fetch), loading=loading, model_id=name)
    return head if chosen is None else head.with_domain(chosen)


def scan(
    head: Head | str | Path | Mapping[str, Any] | torch.nn.Module,
    *,
    tokens: str | Iterable[int | str] | None = None,
    progress: Progress | None = None,
    jobs: int | None = None,
    device: str = "cpu",
    exact: bool = False,
    margin_gap: float | None = None,
    ceilings: float | None = None,
    arithmetic: Iterable[str] = (),
    ties: str = ScanSettings.ties,
    bias_added: str = ScanSettings.bias_added,
    norm_rounded: str | None = None,
    tolerance: float = ScanSettings.tolerance,
    stage_seconds: float | None = None,
) -> Verdicts:
    """Settle tokens: speakable with a witness, unspeakable with hull weights, tied, or undecided.

    Args:
        head: what `load` gives, or what it takes.
        tokens: those to settle: ids and texts, or a choice in the words of `--tokens`; none means all.
        progress: told stage by stage how many rows are done; none shows bars where stderr is a terminal.
        jobs: cores to use; none means all. What PyTorch was set to is restored afterwards.
        device: cpu or cuda, for the batched stages.
        exact, margin_gap, ceilings, arithmetic, ties, bias_added, norm_rounded, tolerance, stage_seconds: see
            `reach.scanning.settings.ScanSettings`.

    Raises:
        BadInput: the head, a token or a setting makes no sense.
    """
    head = head if isinstance(head, Head) else load(head)
    settings = ScanSettings(
        exact=exact,
        margin_gap=margin_gap,
        ceilings=ceilings,
        arithmetic=(arithmetic,) if isinstance(arithmetic, str) else tuple(arithmetic),
        ties=ties,
        bias_added=bias_added,
        norm_rounded=norm_rounded,
        tolerance=tolerance,
        stage_seconds=stage_seconds,
        jobs=default_jobs() if jobs is None else jobs,
        device=device,
    )
    vocabulary = head.vocabulary if head.vocabulary is not None else load_vocabulary(head.folder, head.v)
    problem = head.problem()
    scale = 1.0 if ceilings is None else ceiling_scale(head, problem)
    check_served_head(head, settings.record(), problem)
    chosen = None if tokens is None else _chosen(tokens, vocabulary, head.v)
    said = tokens if isinstance(tokens, str) else None if chosen is None else ",".join(map(str, chosen.tolist()))
    order = ScanOrder(
        head.model_id, head.loading or Loading(), said, ("reach.scan",), (*head.notes, *vocabulary.warnings)
    )
    manifest = new_manifest(head, problem, settings, order, chosen)
    with bars(quiet=progress is not None or not in_a_terminal()) as shown:
        tables, manifest = scan_in_memory(
            problem, vocabulary, settings, manifest, chosen=chosen, progress=progress or shown, logit_scale=scale,
            head=head,
        )  # fmt: skip
    return Verdicts(tables, manifest, at=f"the scan of {head.model_id}", problem=problem)


def prove(A: ArrayLike, c: ArrayLike | None = None, domain: str | Domain = "free", **options: Any) -> Verdicts:
    """For every row t of A: is there a z in the domain with A[t]·z + c[t] > A[j]·z + c[j] for all j ≠ t?

    Args:
        A: `(v, d)` rows.
        c: `(v,)` offsets; none means 0.
        domain: what z ranges over: a domain, or one in words such as `free`, `ball:R`, `box:LO,HI`.
        options: see `scan`.

    Raises:
        BadInput: shapes disagree, a number is not finite, or the domain is none.
    """
    arrays = {"W": A} if c is None else {"W": A, "b": c}
    return scan(load(arrays, domain=domain), **options)


def open(path: str | Path) -> Verdicts:
    """The verdicts of a run folder, which `reach scan` or `Verdicts.save` has written.

    Args:
        path: the folder, or a URL such as `s3://bucket/run`: the run is copied to a temporary folder then, which is
            there for as long as what is read from it.

    Raises:
        BadInput: there is no finished scan, or it is damaged, or the URL cannot be read.
    """
    if not is_url(path):
        return RunFolder.open(path).verdicts()
    from reach.runs.contents import Wanted
    from reach.runs.mirror import mirrored

    place = RemoteFolder(str(path))
    with contextlib.ExitStack() as stack:
        found = RunFolder.open(stack.enter_context(mirrored(place, Wanted(journals=False)))).verdicts()
        found.at = str(place)
        weakref.finalize(found.tables, stack.pop_all().close)
    return found


def _chosen(tokens: str | Iterable[int | str], vocabulary: Vocabulary, v: int) -> Int[np.ndarray, " n"]:
    if isinstance(tokens, str):
        return choose_tokens(tokens, vocabulary, v)
    ids = [token_by_text(one, vocabulary, said="") if isinstance(one, str) else int(one) for one in tokens]
    wrong = [one for one in ids if not 0 <= one < v]
    if wrong or not ids:
        raise BadInput(f"no token {wrong[0]}: the head has ids 0 to {v - 1}" if wrong else "no token is chosen")
    return np.unique(np.array(ids, dtype=np.int64))


def _from_arrays(arrays: Mapping[str, Any], words: str | None, overrides: Mapping[str, Any]) -> Head:
    """A bare head, by way of a file: what may be in one, and what is wrong with it, is said in one place."""
    from reach.heads.bare import load_bare_head

    plain = {name: _plain(value) for name, value in arrays.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "arrays.npz"
        np.savez(file, **plain)
        try:
            head = load_bare_head(file, words, overrides=HeadOverrides(**overrides))
        except BadInput as error:
            raise BadInput(str(error).replace(str(file), "the arrays")) from None
    return replace(head, model_id="arrays")


def _plain(value: Any) -> Any:
    """An array that a `.npz` file can hold; bfloat16 becomes float32, which holds it exactly."""
    if isinstance(value, str | float | int):
        return value
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    found = np.asarray(value)
    return found.astype(np.float64) if found.dtype.kind in "iub" else found


def _from_live(model: torch.nn.Module, tokenizer: Any, words: str | None, overrides: Mapping[str, Any]) -> Head:
    """By way of the files that the model would be saved as, so that its head is read as any other is."""
    name = str(getattr(getattr(model, "config", None), "_name_or_path", "") or type(model).__name__)
    save = getattr(model, "save_pretrained", None)
    if save is None:
        raise BadInput(
            f"{name} is no transformers model (it has no save_pretrained): give the arrays of its head, such as "
            "reach.load({'W': …, 'b': …, 'gamma': …, 'norm': 'layernorm'})"
        )
    with tempfile.TemporaryDirectory() as folder:
        try:
            with _without_bars():
                save(folder)
            if tokenizer is not None:
                tokenizer.save_pretrained(folder)
            loading = Loading(folder, words, overrides=HeadOverrides(**overrides))
            head = load_again(loading)
            vocabulary = load_vocabulary(Path(folder) if tokenizer is not None else None, head.v)
        except BadInput as error:
            raise BadInput(str(error).replace(folder, name)) from None
        # The files are gone in a moment, and the numbers are mapped from them.
        return replace(
            head,
            weight=head.weight.clone(),
            bias=_copy(head.bias),
            gamma=_copy(head.gamma),
            beta=_copy(head.beta),
            source=_copy(head.source),
            model_id=name,
            folder=None,
            vocabulary=vocabulary,
        )


def _from_hooked(model: Any, tokenizer: Any, words: str | None, overrides: Mapping[str, Any]) -> Head:
    if overrides:
        raise BadInput(f"{type(model).__name__} says itself what its head is: leave out {', '.join(overrides)}")
    head = hooked_head(model)
    head = replace(head, vocabulary=_names_of(tokenizer or getattr(model, "tokenizer", None), head.v))
    return head if words is None else judged_over(head, words)


def _names_of(tokenizer: Any, rows: int) -> Vocabulary:
    """The tokens that a tokenizer names, by way of its files."""
    if not hasattr(tokenizer, "save_pretrained"):
        return load_vocabulary(None, rows)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return load_vocabulary(Path(folder), rows)


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """Within this block transformers shows no bars of its own."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _copy(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else tensor.clone()
