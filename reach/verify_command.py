"""`reach verify` without its command line: a run and a model in, what was proved and about what out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from reach.about import About, about_head
from reach.claims import Claims, check_claims
from reach.heads.loading import Loading
from reach.heads.overrides import HeadOverrides
from reach.loading import is_at_hand, load_again
from reach.runs.folder import RunFolder
from reach.verify import VerifyReport, verify_run
from solvers.errors import BadInput

_SHOWN_TOKENS = 50


@dataclass(frozen=True)
class VerifyOrder:
    """What the command line says; the manifest says the rest.

    Attributes:
        model: where the model is, or its Hub id. Without it the manifest's own place is looked at, on this machine
            only.
        revision: branch, tag or commit of a Hub model.
        domain: the domain that the run must be over.
        overrides: tensor names and norm settings of the head that is meant.
        adapter: what is to be done with an adapter beside the model.
        exact: ask for exact evidence everywhere.
    """

    model: str | None
    revision: str | None
    domain: str | None
    overrides: dict[str, Any]
    adapter: str | None
    exact: bool


@dataclass(frozen=True)
class Verified:
    """What came of it."""

    run: RunFolder
    report: VerifyReport
    about: About
    claims: Claims

    @property
    def faults(self) -> list[str]:
        """What is wrong with the run as a whole."""
        about = self.about.fault
        return [*([] if about is None else [about]), *self.report.faults, *self.claims.faults]

    @property
    def ok(self) -> bool:
        """Whether every verdict was proved again, about the head that was asked about, and nothing is wrong."""
        return self.report.ok and not self.faults

    def record(self) -> dict[str, Any]:
        """What `--json` prints."""
        report = self.report
        return {
            "run": str(self.run.path),
            "ok": self.ok,
            "about": self.about.record(),
            "proved": [{"verdict": v, "evidence": e, "count": n} for (v, e), n in sorted(report.proved.items())],
            "failed": [{"token_id": token, "reason": reason} for token, reason in sorted(report.failed.items())],
            "faults": self.faults,
            "undecided": report.undecided,
            "not_asked": report.not_asked,
            "unchecked": self.claims.unchecked,
        }

    def lines(self) -> list[str]:
        """The same for a person."""
        report = self.report
        lines = [f"{self.run.path}: {report.total} verdicts proved again"]
        lines += [f"  {line}" for line in self.about.lines()]
        unchecked = (f"in {file} {', '.join(names)}" for file, names in self.claims.unchecked.items())
        lines.append(f"  {'not checked':<12}{'; '.join(unchecked)}")
        lines += [
            f"  {verdict:<12}{evidence:<10}{count:>8}" for (verdict, evidence), count in sorted(report.proved.items())
        ]
        if report.undecided:
            lines.append(f"  {report.undecided} tokens are undecided: there is nothing to prove")
        if report.not_asked:
            lines.append(f"  {report.not_asked} tokens were not asked for")
        lines += [f"  FAILED: {fault}" for fault in self.faults]
        if report.failed:
            names = self.run.tables.verdicts.column("token").to_pylist()
            lines.append(f"  FAILED for {len(report.failed)} tokens:")
            known = {token: f" ({names[token]!a})" if 0 <= token < len(names) else "" for token in report.failed}
            first = sorted(report.failed.items())[:_SHOWN_TOKENS]
            lines += [f"    token {token}{known[token]}: {why}" for token, why in first]
            more = len(report.failed) - _SHOWN_TOKENS
            lines += [f"    … and {more} more"] if more > 0 else []
        return lines


def verify_folder(run: RunFolder, order: VerifyOrder, *, quiet: bool = False) -> Verified:
    """Prove every verdict of a run again, and say what about.

    Args:
        run: a finished run.
        order: what the command line says.
        quiet: no progress bar.

    Raises:
        BadInput: the model is not at hand and was not named, or the run is of another model or domain.
    """
    loading = _what_to_load(run, order)
    head = load_again(loading)
    problem = head.problem()
    # Shown after the first tokens only: a run that is refused gets its one line and no bar.
    with tqdm(total=problem.v, desc="verify", unit="token", disable=quiet, dynamic_ncols=True, delay=0.1) as bar:
        report = verify_run(run, problem, exact=order.exact, progress=bar.update)
    said = Loading(overrides=HeadOverrides(**order.overrides), adapter=order.adapter)
    about = about_head(head, loading, said, load_again)
    return Verified(run, report, about, check_claims(run.manifest, head, problem))


def _what_to_load(run: RunFolder, order: VerifyOrder) -> Loading:
    """The manifest's `loading` entry, with what the command line says in its place.

    A model that only the manifest names must be on this machine: what others wrote sends nobody to the Hub. Its
    revision counts for nothing either, since a branch of the right repository may hold anything.
    """
    loading = run.loading
    model = order.model if order.model is not None else loading.model
    if model is None:
        raise BadInput(f"{run.path}: the manifest does not say which model it is of; give --model")
    if order.model is None and not is_at_hand(model):
        raise BadInput(
            f"{run.path}: its model is {model}: no such folder or file here; say where it is with --model PATH, or "
            "give its Hub id with --model to fetch it"
        )
    said = Loading(None, order.domain, order.revision, HeadOverrides(**order.overrides), order.adapter)
    return loading.but(model=model, revision=None).asked_anew(said)
