"""The verdicts of a scan, indexed by token: the one place that knows what the tables of a run mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from reach.categories.catalogue import KEYS
from reach.categories.findings import Finding
from reach.classes import CLASSES, HARD, OWN, classes_of
from reach.nearly_never import FORMAT_NAMES, count
from reach.runs.ceilings import Ceilings
from reach.runs.columns import (
    MISSING,
    NONE,
    UNKNOWN,
    Categorised,
    Codes,
    Floats,
    Ids,
    Nearest,
    Silenced,
    Tokens,
    Weights,
    Words,
    codes,
    floats,
    ids,
    truths,
    words,
)  # fmt: skip
from reach.runs.inside import InsideProofs
from reach.runs.manifest import DAMAGED, Manifest, NearlyNever, Totals
from reach.runs.map import VocabularyMap
from reach.runs.remote import RemoteFolder, is_url
from reach.runs.schema import EVIDENCE_NAMES, HULL_WEIGHTS, SERVED_NAMES, VERDICT_NAMES
from reach.runs.served import Served
from solvers.errors import BadInput
from solvers.formats import FORMATS

if TYPE_CHECKING:
    from reach.categories.cause import Cause
    from reach.heads.head import Head
    from reach.verify import VerifyReport
    from solvers.problem import ArgmaxProblem


class Tables(Protocol):
    """The tables of a run, wherever they are: `RunTables` in memory, `reach.runs.folder.StoredTables` on disk."""

    @property
    def verdicts(self) -> pa.Table:
        """One row per token (schema `VERDICTS`)."""

    @property
    def hull_weights(self) -> pa.Table:
        """Of the unspeakable tokens (schema `HULL_WEIGHTS`)."""

    @property
    def margin_weights(self) -> pa.Table | None:
        """Of the nearly-never tokens (schema `MARGIN_WEIGHTS`), or none."""

    @property
    def nearest(self) -> pa.Table | None:
        """The nearest rows of some tokens (schema `NEAREST`), or none."""

    @property
    def inside(self) -> InsideProofs | None:
        """What proves that tokens lie inside the hull of the others, or none."""

    @property
    def silencers(self) -> pa.Table | None:
        """Tokens that single others silence (schema `SILENCERS`), or none where that was not asked."""

    @property
    def categories(self) -> pa.Table | None:
        """What tokens are (schema `CATEGORIES`), or none where the run does not say."""

    @property
    def suspects(self) -> pa.Table | None:
        """Whom indicators of under-training suspect most (schema `SUSPECTS`), or none where the run does not say."""

    @property
    def few_blockers(self) -> pa.Table | None:
        """Proofs over few blockers (schema `FEW_BLOCKERS`), or none where the run does not say."""

    @property
    def ceilings(self) -> Ceilings | None:
        """How probable softmax can make tokens, or none where that was not asked."""

    @property
    def served(self) -> Served | None:
        """What servers return, or none where that was not asked."""

    @property
    def map(self) -> VocabularyMap | None:
        """Where the rows lie in two dimensions, or none."""

    @property
    def witnesses(self) -> Mapping[int, np.ndarray]:
        """Stored witnesses: token id, the first of those with an equal row, to a float32 or float64 vector."""


@dataclass(frozen=True)
class RunTables:
    """The tables in memory, see `Tables`. Those that are None are not written."""

    verdicts: pa.Table
    hull_weights: pa.Table = field(default_factory=HULL_WEIGHTS.empty_table)
    witnesses: Mapping[int, np.ndarray] = field(default_factory=dict)
    margin_weights: pa.Table | None = None
    nearest: pa.Table | None = None
    inside: InsideProofs | None = None
    silencers: pa.Table | None = None
    categories: pa.Table | None = None
    suspects: pa.Table | None = None
    few_blockers: pa.Table | None = None
    ceilings: Ceilings | None = None
    served: Served | None = None
    map: VocabularyMap | None = None


@dataclass(frozen=True)
class Blocker:
    """A token that keeps another from the top, and its share of the hull weights."""

    token_id: int
    name: str
    weight: float


@dataclass(frozen=True)
class TokenVerdict:
    """Everything that a scan says of one token. What is not known is None.

    Attributes:
        token_id: its row.
        piece: as the tokenizer stores it.
        text: what it decodes to, where that is whole text.
        verdict: speakable, tied, unspeakable or undecided; None where it was not asked for.
        evidence: float64, rigorous or exact.
        own_direction: whether it was proved to win along its own row.
        margin_lower, margin_upper: proved bounds on its margin, logits.
        winning_logit: its own logit at its witness.
        nearly_never: the finest number format in which it wins by less than a step.
        equal_to: for tied tokens the id that argmax returns in place of all that share the row.
        runner_up: the closest competitor at its witness, or the heaviest blocker.
        stage: of the scan that settled it.
        reason: why it is undecided.
        blockers: of unspeakable tokens, the heaviest first.
        categories: what it is, with the evidence; empty where nothing is known.
    """

    token_id: int
    piece: str | None
    text: str | None
    verdict: str | None
    evidence: str | None
    own_direction: bool | None
    margin_lower: float | None
    margin_upper: float | None
    winning_logit: float | None
    nearly_never: str | None
    equal_to: int | None
    runner_up: int | None
    stage: str | None
    reason: str | None
    blockers: tuple[Blocker, ...]
    categories: tuple[Finding, ...]
    of: Verdicts = field(repr=False, compare=False)

    @property
    def witness(self) -> np.ndarray | None:
        """`(d,)` a point of the domain where the token wins (a tied one among the others); None where none is known.

        Raises:
            BadInput: it follows a recipe, and the verdicts do not know their head: see `Verdicts.about`.
        """
        return self.of.witness(self.token_id)


class Verdicts:
    """What a scan says of every token of a vocabulary.

    Columns are arrays with one entry per token. Floats are NaN, ids and words −1, codes 255 where there is no value.
    Groups of tokens (`unspeakable`, `tied`, …) are arrays of ids. `verdicts[17]` and `verdicts["assertIn"]` give one
    token.

    Args:
        tables: the tables of a run.
        manifest: what the run says of itself.
        at: where the run is, for complaints.
        problem: the argmax problem that it is about, where that is at hand.
    """

    def __init__(
        self, tables: Tables, manifest: Manifest, *, at: Path | str = "the scan", problem: ArgmaxProblem | None = None
    ) -> None:
        self.tables, self.manifest, self.at, self.problem = tables, manifest, at, problem

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        counts = ", ".join(f"{number} {name}" for name, number in self.totals.verdicts.items() if number)
        return f"Verdicts({self.manifest.model}: {len(self)} tokens, {counts})"

    def __getitem__(self, token: int | str) -> TokenVerdict:
        return self.of(self.id_of(token))

    @property
    def table(self) -> pa.Table:
        """The table of verdicts as it is stored (schema `VERDICTS`)."""
        return self.tables.verdicts

    # --- columns ---

    @cached_property
    def pieces(self) -> list[str | None]:
        """Each token as the tokenizer stores it."""
        return self.table.column("token").to_pylist()

    @cached_property
    def texts(self) -> list[str | None]:
        """What each token decodes to, where that is whole text."""
        return self.table.column("text").to_pylist()

    @cached_property
    def verdict(self) -> Codes:
        """Index into `VERDICT_NAMES`."""
        return codes(self.table, "verdict", VERDICT_NAMES)

    @cached_property
    def evidence(self) -> Codes:
        """Index into `EVIDENCE_NAMES`."""
        return codes(self.table, "evidence", EVIDENCE_NAMES)

    @cached_property
    def nearly_never_in(self) -> Codes:
        """Index into `FORMAT_NAMES`: the finest format in which a token is nearly never."""
        return codes(self.table, "nearly_never", FORMAT_NAMES)

    @cached_property
    def own_direction(self) -> Codes:
        """1 where a win along the token's own row was proved, 0 where not."""
        return truths(self.table, "own_direction")

    @cached_property
    def margin_lower(self) -> Floats:
        """Proved lower bound on the margin, logits."""
        return floats(self.table, "margin_lower")

    @cached_property
    def margin_upper(self) -> Floats:
        """Proved upper bound on the margin, logits."""
        return floats(self.table, "margin_upper")

    @cached_property
    def ceiling(self) -> tuple[Floats, Floats]:
        """Proved bounds on the supremum of ln p over the domain; NaN where none was asked for or none is known."""
        found = np.full((2, len(self)), np.nan)
        ceilings = self.tables.ceilings
        if ceilings is not None:
            token = ids(ceilings.table, "token_id")
            if len(token) and (token.min() < 0 or token.max() >= len(self)):
                raise BadInput(f"{self.at}/ceilings.parquet: a token_id is not one of the tokens; {DAMAGED}")
            for at, side in enumerate(("lower", "upper")):
                found[at, token] = floats(ceilings.table, f"log_probability_{side}")
        return found[0], found[1]

    @cached_property
    def served(self) -> dict[str, Codes]:
        """By arithmetic, index into `SERVED_NAMES`: what a server returns; none where that was not asked.

        Raises:
            BadInput: the table names a token that there is not, or what is no class.
        """
        if self.tables.served is None:
            return {}
        table = self.tables.served.table
        token, arithmetic = ids(table, "token_id"), table.column("arithmetic").to_pylist()
        code = codes(table, "served", SERVED_NAMES)
        known = [form.name for form in FORMATS]
        outside = bool(len(token)) and (token.min() < 0 or token.max() >= len(self))
        if outside or not {NONE, UNKNOWN}.isdisjoint(code.tolist()) or not {*arithmetic} <= {*known}:
            raise BadInput(
                f"{self.at}/served.parquet: a row is about no token, of no format or in no class; {DAMAGED}"
            )
        found: dict[str, Codes] = {}
        for name in (name for name in known if name in {*arithmetic}):
            mine = np.array([one == name for one in arithmetic])
            found[name] = np.full(len(self), NONE, dtype=code.dtype)
            found[name][token[mine]] = code[mine]
        return found

    @cached_property
    def silenced(self) -> Silenced | None:
        """Tokens that single others keep from the top; None where that was not asked, or cannot be said.

        Raises:
            BadInput: the table names a token that there is not, or its lists do not fit each other.
        """
        table = self.tables.silencers
        if table is None:
            return None
        order = np.argsort(ids(table, "token_id"), kind="stable")
        few, bounds = (table.column(name).to_pylist() for name in ("strongest", "bound"))
        sizes = [len(one or ()) for one in few]
        token = ids(table, "token_id")[order]
        by = np.array([MISSING if row is None else row for at in order for row in few[at] or ()], dtype=np.int32)
        bound = np.array([value for at in order for value in bounds[at] or ()], dtype=np.float64)
        pair = np.repeat(token, [sizes[at] for at in order])
        for named in (token, by):
            if len(named) and (named.min() < 0 or named.max() >= len(self)):
                raise BadInput(f"{self.at}/silencers.parquet: it names what is not one of the tokens; {DAMAGED}")
        if sizes != [len(one or ()) for one in bounds] or not np.isfinite(bound).all():
            raise BadInput(f"{self.at}/silencers.parquet: silencers and bounds do not fit each other; {DAMAGED}")
        return Silenced(token, ids(table, "count")[order], pair, by, bound)

    @cached_property
    def categories(self) -> Categorised | None:
        """What tokens are; None where the run does not say.

        Raises:
            BadInput: the table names a token that there is not, or a category that this version does not know.
        """
        table = self.tables.categories
        if table is None:
            return None
        file = f"{self.at}/categories.parquet"
        table = table.take(np.argsort(ids(table, "token_id"), kind="stable"))
        token, category = ids(table, "token_id"), codes(table, "category", KEYS)
        lists = [one or [] for one in table.column("others").to_pylist()]
        start = np.cumsum([0, *map(len, lists)])
        other = np.array([MISSING if row is None else row for rows in lists for row in rows], dtype=np.int32)
        for named in (token, other):
            if len(named) and (named.min() < 0 or named.max() >= len(self)):
                raise BadInput(f"{file}: it names what is not one of the tokens; {DAMAGED}")
        if len(category) and category.max() >= len(KEYS):
            value = table.column("category")[int(np.argmax(category >= len(KEYS)))].as_py()
            raise BadInput(f"{file}: unknown category {value!r:.80}; scan again with this version")
        return Categorised(token, category, words(table, "detail"), ids(table, "group"), start, other)

    def categories_of(self, token: int) -> tuple[Finding, ...]:
        """What one token is, with the evidence; empty where nothing is known."""
        known = self.categories
        if known is None:
            return ()
        first, last = np.searchsorted(known.token, [token, token + 1]).tolist()
        return tuple(
            Finding(
                token, KEYS[known.category[at]], known.detail.of(at),
                tuple(known.other[known.start[at] : known.start[at + 1]].tolist()), _id(known.group[at]),
            )
            for at in range(first, last)
        )  # fmt: skip

    @cached_property
    def causes(self) -> tuple[Cause, ...]:
        """What the unspeakable, tied and undecided tokens have in common; empty where the run does not say."""
        from reach.categories.cause import causes

        return causes(self)

    @cached_property
    def winning_logit(self) -> Floats:
        """The token's own logit at its witness."""
        return floats(self.table, "winning_logit")

    @cached_property
    def row_norm(self) -> Floats:
        """Length of the token's row."""
        return floats(self.table, "row_norm")

    @cached_property
    def runner_up(self) -> Ids:
        """The closest competitor at the witness, or the heaviest blocker."""
        return ids(self.table, "runner_up_id")

    @cached_property
    def argmax(self) -> Ids:
        """For tied tokens the id that argmax returns for all that share the row."""
        return ids(self.table, "argmax_id")

    @cached_property
    def first_of(self) -> Tokens:
        """The id whose stored witness a token shares: the first of its equals, where the scan found it to win."""
        return np.where(self.argmax == MISSING, np.arange(len(self)), self.argmax)

    @cached_property
    def stage(self) -> Words:
        """The stage that settled a token."""
        return words(self.table, "stage")

    @cached_property
    def reason(self) -> Words:
        """Why a token is undecided."""
        return words(self.table, "reason")

    @cached_property
    def witness_kind(self) -> Words:
        """A recipe of `solvers.recipes`, or stored."""
        return words(self.table, "witness")

    @cached_property
    def classes(self) -> Tokens:
        """Index into `reach.classes.CLASSES`."""
        return classes_of(self.verdict, self.own_direction == 1)

    # --- groups ---

    def ids(self, name: str) -> Tokens:
        """The ids of the tokens of a verdict or a class, in order; `speakable` has both classes of them.

        Raises:
            BadInput: no such verdict or class.
        """
        if name in VERDICT_NAMES:
            return np.flatnonzero(self.verdict == VERDICT_NAMES.index(name))
        if name in CLASSES:
            return np.flatnonzero(self.classes == CLASSES.index(name))
        raise BadInput(f"no verdict or class {name!r}; there are {', '.join((*VERDICT_NAMES, *CLASSES))}")

    @property
    def speakable(self) -> Tokens:
        """Tokens that some point of the domain makes the single argmax, proved by a witness."""
        return self.ids("speakable")

    @property
    def unspeakable(self) -> Tokens:
        """Tokens that no point of the domain makes the argmax, proved by hull weights."""
        return self.ids("unspeakable")

    @property
    def tied(self) -> Tokens:
        """Tokens that can only share the top with others of an equal row."""
        return self.ids("tied")

    @property
    def undecided(self) -> Tokens:
        """Tokens for which neither was proved."""
        return self.ids("undecided")

    @property
    def hard_to_speak(self) -> Tokens:
        """Speakable tokens that were not seen to win along their own row."""
        return self.ids("hard-to-speak")

    @property
    def nearly_never(self) -> Tokens:
        """Speakable tokens that win by less than a step of a number format, the smallest lead for its logit first."""
        found = self.speakable
        found = found[self.nearly_never_in[found] != NONE]
        share = self.margin_upper[found] / np.maximum(np.abs(self.winning_logit[found]), 1e-300)
        return found[np.argsort(share, kind="stable")]

    @property
    def resolved(self) -> bool:
        """Whether the run knows which tokens are nearly never: those of earlier versions do not."""
        return not bool(len(self.speakable) and np.isnan(self.winning_logit).all())

    @cached_property
    def totals(self) -> Totals:
        """The counts, counted in the table itself."""
        verdicts, evidence = (
            {name: int((column == code).sum()) for code, name in enumerate(names)}
            for column, names in ((self.verdict, VERDICT_NAMES), (self.evidence, EVIDENCE_NAMES))
        )
        classes = np.bincount(self.classes, minlength=len(CLASSES)).tolist()
        speakable = self.speakable
        columns = (self.nearly_never_in, self.margin_lower, self.margin_upper, self.winning_logit)
        nearly = NearlyNever(**count(*(column[speakable] for column in columns))) if self.resolved else None
        asked = int((self.verdict != NONE).sum())
        return Totals(asked, verdicts, evidence, classes[OWN], classes[HARD], nearly)

    # --- certificates ---

    @cached_property
    def hull(self) -> Weights:
        """The hull weights of the unspeakable tokens.

        Raises:
            BadInput: the table names a token that there is not, or a weight that is no number.
        """
        return self._weights("hull_weights.parquet", self.tables.hull_weights)

    @cached_property
    def bounds(self) -> Weights:
        """The weights that bound the margins of nearly-never tokens; empty where a run has none."""
        table = self.tables.margin_weights
        return self._weights("margin_weights.parquet", HULL_WEIGHTS.empty_table() if table is None else table)

    @cached_property
    def nearest(self) -> Nearest:
        """The nearest rows; none at all where the run was written without them."""
        table = self.tables.nearest
        if table is None:
            no_ids, no_floats = np.zeros(0, np.int32), np.zeros(0)
            return Nearest(no_ids, no_ids, no_floats, no_floats)
        token, row = self._token_ids("nearest.parquet", table)
        distance = floats(table, "distance")
        order = np.lexsort((row, distance, token))
        return Nearest(token[order], row[order], floats(table, "cosine")[order], distance[order])

    def witnesses(self, tokens: Tokens, problem: ArgmaxProblem | None = None) -> Floats:
        """`(n, d)` the witnesses of tokens; NaN for those that have none.

        Args:
            tokens: their ids.
            problem: of the head that was scanned, with a row per token; none takes the one at hand.

        Raises:
            BadInput: no problem is at hand, and a witness follows a recipe.
        """
        from reach.equal_rows import merge_equal_rows
        from reach.witnesses import by_row, witness_points

        problem = self.problem if problem is None else problem
        if problem is None:
            raise BadInput(f"{self.at}: witnesses that follow a recipe need the head: say verdicts.about(head) first")
        merged = merge_equal_rows(problem)
        rows = merged.row_of[tokens]
        kinds = [self.witness_kind.of(int(token)) for token in tokens]
        first = np.unique(merged.first_of[tokens]).tolist()
        pairs = {token: self.bounds.of(token) for token in first} | {
            token: self.hull.of(token) for token in first if not len(self.bounds.of(token)[0])
        }
        found = by_row(merged, self.tables.witnesses, pairs)
        return witness_points(merged.problem, kinds, rows, found).numpy()

    def witness(self, token: int) -> np.ndarray | None:
        """The witness of a token, see `TokenVerdict.witness`."""
        kind = self.witness_kind.of(token)
        if kind is None:
            return None
        stored = self.tables.witnesses.get(int(self.first_of[token]))
        if kind == "stored":
            return stored
        return self.witnesses(np.array([token]))[0]

    # --- one token ---

    def name(self, token: int) -> str | None:
        """What a token is called: its text, or its piece where that is not whole text; None where it has neither."""
        text = self.texts[token]
        return self.pieces[token] if text is None else text

    def label(self, token: int) -> str:
        """Its name and always its id, for a person."""
        name = self.name(token)
        return f"#{token}" if name is None else f"{name!r} (#{token})"

    def id_of(self, token: int | str) -> int:
        """The id of a token given by id, or by its piece or text in full.

        Raises:
            BadInput: there is none, or several of that text; near matches are named.
        """
        if isinstance(token, str):
            from reach.token_choice import token_by_text
            from reach.vocabulary import Vocabulary

            return token_by_text(token, Vocabulary(self.pieces, self.texts, []), said="")
        if not -len(self) <= token < len(self):
            raise IndexError(f"no token {token}: the ids are 0 to {len(self) - 1}")
        return int(token) % len(self)

    def of(self, token: int) -> TokenVerdict:
        """The record of one token."""
        rows, weights = self.hull.of(token)
        own = int(self.own_direction[token])
        return TokenVerdict(
            token_id=token,
            piece=self.pieces[token],
            text=self.texts[token],
            verdict=_name(self.verdict[token], VERDICT_NAMES),
            evidence=_name(self.evidence[token], EVIDENCE_NAMES),
            own_direction=None if own == NONE else bool(own),
            margin_lower=_known(self.margin_lower[token]),
            margin_upper=_known(self.margin_upper[token]),
            winning_logit=_known(self.winning_logit[token]),
            nearly_never=_name(self.nearly_never_in[token], FORMAT_NAMES),
            equal_to=_id(self.argmax[token]),
            runner_up=_id(self.runner_up[token]),
            stage=self.stage.of(token),
            reason=self.reason.of(token),
            blockers=tuple(
                Blocker(int(row), self.label(int(row)), float(weight))
                for row, weight in zip(rows, weights, strict=True)
            ),
            categories=self.categories_of(token),
            of=self,
        )

    def entry(self, token: int, *columns: str) -> dict[str, Any]:
        """Columns of the table for one token, in plain types under their own names, its id first."""
        return {name: self.table.column(name)[token].as_py() for name in ("token_id", *columns)}

    # --- elsewhere ---

    def about(self, head: Head | ArgmaxProblem) -> Verdicts:
        """The same verdicts with their head at hand, so that every witness can be rebuilt."""
        problem = head.problem() if hasattr(head, "problem") else head
        return Verdicts(self.tables, self.manifest, at=self.at, problem=problem)

    def to_arrow(self) -> pa.Table:
        """The table, one row per token (schema `reach.runs.schema.VERDICTS`)."""
        return self.table

    def to_pandas(self) -> Any:
        """The table as a data frame, by token id. Needs pandas."""
        return self.table.to_pandas().set_index("token_id")

    def save(self, folder: Path | str, *, force: bool = False) -> Path | RemoteFolder:
        """Write a run folder that every command reads.

        Args:
            folder: the folder, or a URL such as `s3://bucket/run`.
            force: overwrite a run that is there.

        Raises:
            BadInput: there is a run already (without `force`) or something else, or it cannot be written.
        """
        from reach.runs.mirror import mirrored
        from reach.runs.writing import save

        if is_url(folder):
            place = RemoteFolder(str(folder))
            with mirrored(place, alone=True) as here:
                save(here, self.tables, self.manifest, force=force)
            return place
        return save(Path(folder), self.tables, self.manifest, force=force)

    def verify(self, head: Head | ArgmaxProblem | None = None, *, exact: bool = False) -> VerifyReport:
        """Prove every verdict again from its certificate and the head. Uses no solver.

        Args:
            head: the head, or its problem; none takes the problem at hand.
            exact: ask for exact evidence everywhere.

        Raises:
            BadInput: no head is at hand, or the verdicts are about another.
        """
        from reach.verify import verify_verdicts

        problem = self.problem if head is None else head.problem() if hasattr(head, "problem") else head
        if problem is None:
            raise BadInput(f"{self.at}: give the head to verify against, such as verdicts.verify(reach.load(…))")
        return verify_verdicts(self, problem, exact=exact)

    # --- checks ---

    def checked(self) -> Verdicts:
        """The same, once it is known that nothing later has to doubt the tables.

        Raises:
            BadInput: the table is empty, is not of the length that the manifest gives, or names unknown verdicts,
                evidence or formats, or tokens that there are not.
        """
        file = f"{self.at}/verdicts.parquet"
        if not len(self):
            raise BadInput(f"{file}: no rows; there is nothing to report, scan again")
        if self.manifest.v is not None and self.manifest.v != len(self):
            raise BadInput(f"{file}: {len(self)} rows, but the manifest says {self.manifest.v}; {DAMAGED}")
        if not np.array_equal(ids(self.table, "token_id"), np.arange(len(self))):
            raise BadInput(f"{file}: token_id does not count 0, 1, 2, …; {DAMAGED}")
        for name, known, found in (
            ("verdict", VERDICT_NAMES, self.verdict), ("evidence", EVIDENCE_NAMES, self.evidence),
            ("nearly_never", FORMAT_NAMES, self.nearly_never_in),
        ):  # fmt: skip
            if (found == UNKNOWN).any():
                value = self.table.column(name)[int(np.argmax(found == UNKNOWN))].as_py()
                raise BadInput(
                    f"{file}: unknown {name} {value!r:.80} (known: {', '.join(known)}); scan again with this version"
                )
        for name, column in (("runner_up_id", self.runner_up), ("argmax_id", self.argmax)):
            if column.min() < MISSING or column.max() >= len(self):
                raise BadInput(f"{file}: a {name} is not one of the {len(self)} tokens; {DAMAGED}")
        _ = self.hull, self.nearest
        return self

    def _weights(self, file: str, table: pa.Table) -> Weights:
        token, row = self._token_ids(file, table)
        weight = floats(table, "weight")
        if not np.isfinite(weight).all():
            raise BadInput(f"{self.at}/{file}: a weight is not a finite number; {DAMAGED}")
        order = np.lexsort((row, -weight, token))
        return Weights(token[order], row[order], weight[order])

    def _token_ids(self, file: str, table: pa.Table) -> tuple[Ids, Ids]:
        found = ids(table, "token_id"), ids(table, "row_id")
        for name, column in zip(("token_id", "row_id"), found, strict=True):
            if len(column) and (column.min() < 0 or column.max() >= len(self)):
                raise BadInput(f"{self.at}/{file}: a {name} is not one of the {len(self)} tokens; {DAMAGED}")
        return found


def _name(code: int, names: tuple[str, ...]) -> str | None:
    return names[code] if code < len(names) else None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _id(value: int) -> int | None:
    return None if value == MISSING else int(value)
