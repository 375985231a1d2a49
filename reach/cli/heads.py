"""The head that a command is about, opened, with what is to be said about it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reach.cli.say import beside
from reach.demo import DEMO_NAME, demo_model
from reach.head_options import HeadOptions
from solvers.errors import BadInput

if TYPE_CHECKING:
    from reach.heads.head import Head
    from reach.loading import Loading
    from reach.many.vocabularies import Vocabularies
    from reach.vocabulary import Vocabulary


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opened:
    """A head and its tokens.

    Attributes:
        name: the model as the user named it.
        loading: what finds the head again.
        head, vocabulary: the head and the names of its tokens.
        warnings: one line each.
        checked: what a self-check found, or none where none was asked for.
    """

    name: str
    loading: Loading
    head: Head
    vocabulary: Vocabulary
    warnings: tuple[str, ...]
    checked: dict[str, Any] | None


def named_or_known(options: HeadOptions, out: Path | None) -> tuple[str, Loading, bool]:
    """A model's name, what finds it again, and whether it may be fetched: a model that only a run names is not.

    Args:
        options: what the command line says.
        out: a run folder, whose model is meant where the command line names none.
    """
    from reach.runs.folder import model_of_run

    known = None if options.named else model_of_run(out)
    name, loading = options.loading()
    return (name, loading, True) if known is None else (known[0], known[1].asked_anew(loading), False)


def open_head(options: HeadOptions, out: Path | None = None, vocabularies: Vocabularies | None = None) -> Opened:
    """Load the head that the command line describes, or that of a run (see `named_or_known`).

    `vocabularies` has those of models before, which are not read again.
    """
    from reach.loading import load_again
    from reach.vocabulary import load_vocabulary

    name, loading, fetch = named_or_known(options, out)
    head = load_again(loading, fetch=fetch)
    if vocabularies is None:
        vocabulary = head.vocabulary or load_vocabulary(head.folder, head.v)
    else:
        vocabulary = vocabularies.of(head)
    words = "head of %s: %s, %d tokens × %d dimensions, norm %s, eps %s, stored as %s, %s, tensors %s"
    _log.info(words, name, head.architecture, head.v, head.d, head.norm, head.eps, head.dtype, head.tie, head.tensors)
    checked = self_checked(head, str(loading.model)) if options.self_check else None
    return Opened(name, loading, head, vocabulary, (*head.notes, *vocabulary.warnings), checked)


def self_checked(head: Head, model: str) -> dict[str, Any]:
    """Compare the head with the live model and go on only if they are one; gives back what a manifest keeps of it.

    Raises:
        BadInput: they are not, or there is no live model.
    """
    from reach.heads.self_check import self_check

    report = self_check(head, demo_model() if model == DEMO_NAME else model)
    beside(f"self-check: {report.sentence}")
    if not report.ok:
        raise BadInput("the self-check failed: the head read from the files is not the live model's, see above")
    return report.record()
