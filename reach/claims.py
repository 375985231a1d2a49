"""What a manifest and its tables say beside the proofs: held against the model, or named as not checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reach.heads.head import Head
from reach.runs.domain_words import SQUARED_RADIUS, domain_entries
from solvers.problem import ArgmaxProblem

_OF_THE_RUN = ("schema", "kind", "status", "loading", "asked", "totals", "margins_certified")
_OF_THE_PROBLEM = ("fingerprint", "v", "d", "domain", SQUARED_RADIUS, "zero_offset", "head")
CHECKED = frozenset(_OF_THE_RUN + _OF_THE_PROBLEM)
"""Entries of a manifest that `verify` compares with the files or the model, or finds the model by."""

UNCHECKED_COLUMNS = ("token", "text", "stage", "runner_up_id", "row_norm", "reason")
"""Columns of verdicts.parquet that no proof rests on; of runs of earlier versions, upper margins of winners too."""

_HEAD = ("architecture", "norm", "eps", "tie", "dtype", "tensors", "revision")

_AFTER = ("logit_scale", "softcap")
"""What a head does to its logits, by the names that it has."""


@dataclass(frozen=True)
class Claims:
    """Entries that are not true of the model, one line each, and by file what was not checked."""

    faults: list[str]
    unchecked: dict[str, list[str]]


def check_claims(manifest: dict[str, Any], head: Head, problem: ArgmaxProblem) -> Claims:
    """Hold what a manifest says of its head against the head itself.

    Args:
        manifest: of a finished scan.
        head: the head that its proofs were checked on, loaded afresh.
        problem: its argmax problem.
    """
    plain: dict[str, Any] = {"kind": "scan", "v": problem.v, "d": problem.d, "zero_offset": problem.zero_offset}
    if SQUARED_RADIUS in manifest:  # older manifests do without
        plain[SQUARED_RADIUS] = domain_entries(problem.domain)[SQUARED_RADIUS]
    faults = [_fault(name, manifest.get(name), true) for name, true in plain.items()]
    unchecked = [name for name in manifest if name not in CHECKED]
    said = manifest.get("head")
    if not isinstance(said, dict):
        faults.append(f"manifest.json: its head is {said!r}, which says nothing about one")
    else:
        for name in _HEAD:
            true, found = getattr(head, name), said.get(name)
            if name == "tie":
                # Readers get a sentence; its first word says whether the matrices are equal, where both were at hand.
                unchecked.append("head.tie" if _unknown(true) or _unknown(found) else "head.tie (its words)")
                true, found = (None, None) if _unknown(true) or _unknown(found) else (_first(true), _first(found))
            # A local copy has no commit, and another commit may hold the same head.
            if name == "revision" and not _equal(found, true):
                unchecked.append("head.revision")
            else:
                faults.append(_fault(f"head.{name}", found, true))
        # Manifests of earlier versions do without; no verdict depends on them, but ceilings and servers do.
        for name in _AFTER if {*_AFTER} & said.keys() or _depends_on_scale(manifest) else ():
            faults.append(_fault(f"head.{name}", said.get(name), getattr(head, name)))
        unchecked += [f"head.{name}" for name in said if name not in (*_HEAD, *_AFTER)]
    asked = manifest.get("asked")
    unchecked += ["asked.tokens"] if isinstance(asked, dict) and asked.get("tokens") is not None else []
    columns = [*UNCHECKED_COLUMNS]
    if manifest.get("margins_certified") is not True:
        columns.append("margin_upper where speakable")
    return Claims([fault for fault in faults if fault], {"manifest.json": unchecked, "verdicts.parquet": columns})


def _depends_on_scale(manifest: dict[str, Any]) -> bool:
    settings = manifest.get("settings")
    return isinstance(settings, dict) and (settings.get("ceilings") is not None or bool(settings.get("arithmetic")))


def _fault(name: str, found: object, true: object) -> str:
    """What is wrong with an entry, or nothing."""
    return "" if _equal(found, true) else f"manifest.json: its {name} is {found!r}, but the model's is {true!r}"


def _equal(found: object, true: object) -> bool:
    """Equality of JSON values: `true` is no number."""
    return found == true and isinstance(found, bool) == isinstance(true, bool)


def _first(tie: object) -> object:
    return tie.split(":")[0] if isinstance(tie, str) else tie


def _unknown(tie: object) -> bool:
    """Whether a sentence says that the matrices were not compared, because one would have had to be fetched."""
    return isinstance(tie, str) and "not compared" in tie
