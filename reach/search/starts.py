"""Where an attempt begins: what the head says of each token, real inputs whose effect is known, or chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from reach.runs.folder import RunFolder
from reach.search.ledger import Ledger
from reach.search.levels import Freedom
from reach.search.live import LiveModel
from reach.search.options import SearchSettings
from reach.verdicts import Verdicts
from solvers.errors import BadInput


@dataclass(frozen=True)
class Aims:
    """Head witnesses as unit directions.

    Attributes:
        before: `(v, d)` of the state that enters the final norm.
        after: `(v, d)` of the state that enters the output matrix, from its middle.
    """

    before: Float[Tensor, "v d"]
    after: Float[Tensor, "v d"]

    def to(self, device: torch.device) -> Aims:
        """The same on a device."""
        return Aims(self.before.to(device), self.after.to(device))


@dataclass(frozen=True)
class HeadVerdicts:
    """Level 0 of a search.

    Attributes:
        verdict: one per token; none where the scan was not asked.
        margin: `(v,)` the scan's lower bound, logits; NaN where there is none.
        unspeakable: `(v,)` proved: at every level below as well.
        aims: where each token's head witness lies.
    """

    verdict: list[str | None]
    margin: Float[np.ndarray, " v"]
    unspeakable: Bool[np.ndarray, " v"]
    aims: Aims | None


def read_verdicts(run: RunFolder, fingerprint: str, head: Any) -> HeadVerdicts:
    """The verdicts of a finished scan.

    Raises:
        BadInput: the scan is of another model.
    """
    if run.manifest.get("fingerprint") != fingerprint:
        raise BadInput(f"{run.path}: holds the scan of another model; choose another --run")
    verdicts = run.verdicts()
    names = verdicts.table.column("verdict").to_pylist()
    unspeakable = np.zeros(len(verdicts), dtype=bool)
    unspeakable[verdicts.unspeakable] = True
    return HeadVerdicts(names, verdicts.margin_lower, unspeakable, _aims(verdicts, head))


def _aims(verdicts: Verdicts, head: Any) -> Aims:
    """Witnesses are points z before the norm's scale; final states are γ ⊙ z + β, so directions get γ as well."""
    gamma = torch.ones(head.d) if head.gamma is None else head.gamma.float()
    rows = head.weight.float() * gamma
    recipes = [verdicts.witness_kind.of(token) for token in range(len(verdicts))]
    points = rows - rows.mean(0) * torch.tensor([[0.0 if one == "own-row" else 1.0] for one in recipes])
    for token, point in verdicts.tables.witnesses.items():
        points[token] = torch.from_numpy(point).float()
    unit = torch.nn.functional.normalize
    return Aims(unit(points, dim=1), unit(points * gamma, dim=1))


# --- starting points ------------------------------------------------------------------------------------------------

SOFT = ("own embedding", "pulled back", "neighbour", "random")
"""Kinds in turn for embeddings. The token's own row reaches more targets than the nearest known prompt."""
HARD = ("pulled back", "own embedding", "pulled back", "random")
"""Kinds in turn for real prompts, where a swap moves far: there it pays to begin near."""
_BANK = 4096


@dataclass
class Bank:
    """Real prompts and the final hidden states they lead to.

    Attributes:
        ids: length to `(m, k)` prompts.
        hidden: length to `(m, d)` states that enter the output matrix.
        top: length to `(m,)` the largest logit there.
    """

    ids: dict[int, Tensor] = field(default_factory=dict)
    hidden: dict[int, Tensor] = field(default_factory=dict)
    top: dict[int, Tensor] = field(default_factory=dict)

    def add(self, ids: Int[Tensor, "m k"], hidden: Float[Tensor, "m d"], top: Float[Tensor, " m"]) -> None:
        """Remember prompts, the oldest are forgotten."""
        k = ids.shape[1]
        for table, new in ((self.ids, ids), (self.hidden, hidden), (self.top, top)):
            table[k] = torch.cat([table[k], new])[-_BANK:] if k in table else new[-_BANK:]


class Starts:
    """Starting points for attempts, in turn of their kinds."""

    def __init__(
        self,
        live: LiveModel,
        ledger: Ledger,
        bank: Bank,
        aims: Aims | None,
        seed: int,
        *,
        alone: bool = False,
    ) -> None:
        """Args: `aims` says where each token's head witness lies, if a scan is there to know; `alone` leaves out
        everything that was found before (for measuring strength).
        """
        self._live, self._ledger, self._bank, self._aims = live, ledger, bank, aims
        self._alone = alone
        self._rng = torch.Generator().manual_seed(seed)
        self._output = live.output_rows()

    def variables(
        self, freedom: Freedom, tokens: Int[np.ndarray, " n"], attempts: Int[np.ndarray, " n"], length: int
    ) -> Float[Tensor, "n k w"]:
        """Variables for one attempt at each token."""
        if freedom.name == "free" and self._aims is not None and self._aims.before.shape[1] == freedom.width:
            far, attempts = attempts % 2 == 0, attempts // 2
            x = self._near(freedom, tokens, attempts, length)
            if far.any():
                rows = torch.from_numpy(np.flatnonzero(far)).to(x.device)
                x[rows, -1] = self._far_out(tokens[far], attempts[far])
            return x
        return self._near(freedom, tokens, attempts, length)

    def _far_out(self, tokens: Int[np.ndarray, " n"], rounds: Int[np.ndarray, " n"]) -> Float[Tensor, "n d"]:
        """The head witness itself as an embedding, so long that the layers of a pre-norm model, each of which adds
        something of limited size, can hardly turn it."""
        assert self._aims is not None
        length = float(self._live.rows.norm(dim=1).median())
        factor = torch.from_numpy(10.0 ** (1 + rounds % 3)).float().to(self._live.device)
        return self._aims.before[torch.from_numpy(tokens)] * (length * factor)[:, None]

    def _near(
        self, freedom: Freedom, tokens: Int[np.ndarray, " n"], attempts: Int[np.ndarray, " n"], length: int
    ) -> Float[Tensor, "n k w"]:
        """Real prompts and known solutions, with some noise."""
        ids = self.ids(tokens, attempts, length, SOFT)
        x = freedom.from_ids(ids).clone()
        if not self._alone and freedom.width == self._live.rows.shape[1]:
            known = self._known(freedom.name, length)
            for row, (token, attempt) in enumerate(zip(tokens, attempts, strict=True)):
                if SOFT[attempt % len(SOFT)] == "neighbour":
                    points = self._neighbour(int(token), freedom.name, known)
                    if points is not None:
                        x[row] = points
        noise = torch.randn(x.shape, generator=self._rng).to(x.device)
        # From the second round of kinds on, the same start would only lead to the same end.
        spread = torch.from_numpy(0.1 + 0.3 * (attempts // len(SOFT))).to(x.device, torch.float32)
        return x + noise * (freedom.scale * spread.clamp_max(1.0))[:, None, None]

    def ids(
        self,
        tokens: Int[np.ndarray, " n"],
        attempts: Int[np.ndarray, " n"],
        length: int,
        order: tuple[str, ...] = HARD,
    ) -> Int[Tensor, "n k"]:
        """Real prompts for one attempt at each token."""
        vocabulary = len(self._live.rows)
        ids = torch.randint(0, vocabulary, (len(tokens), length), generator=self._rng)
        kinds = np.array(order)[attempts % len(order)]
        own = (kinds == "own embedding") & (tokens < vocabulary)
        ids[torch.from_numpy(own), -1] = torch.from_numpy(tokens[own])
        # A neighbour's solution may not be known yet.
        pulled = np.flatnonzero(np.isin(kinds, ("pulled back", "neighbour")))
        if self._output is not None and len(pulled) and length in self._bank.ids:
            best = self._pull_back(torch.from_numpy(tokens[pulled]), attempts[pulled] // len(order), length)
            ids[torch.from_numpy(pulled)] = best.cpu()
        return ids.to(self._live.device)

    def _pull_back(self, tokens: Int[Tensor, " m"], rounds: Int[np.ndarray, " m"], length: int) -> Int[Tensor, "m k"]:
        """The prompts whose final states come nearest to saying a token: by the head's witness direction in turn
        with the logit that the token lacks."""
        assert self._output is not None
        weight, bias = self._output
        hidden, top = self._bank.hidden[length], self._bank.top[length]
        tokens = tokens.to(hidden.device)
        score = weight[tokens] @ hidden.T - top
        score += 0 if bias is None else bias[tokens][:, None]
        if self._aims is not None:
            centred = torch.nn.functional.normalize(hidden - hidden.mean(0), dim=1)
            by_witness = self._aims.after[tokens].to(hidden.device) @ centred.T
            odd = torch.from_numpy(rounds % 2 == 1).to(hidden.device)
            score = torch.where(odd[:, None], by_witness, score)
        # A later round takes one of the next best prompts.
        ranked = score.topk(min(8, score.shape[1]), dim=1).indices
        rank = torch.from_numpy(rounds % ranked.shape[1]).to(hidden.device)
        return self._bank.ids[length][ranked.gather(1, rank[:, None])[:, 0]]

    def _known(self, level: str, length: int) -> list[int]:
        """Tokens that the latest solutions of this length were found for."""
        return [t for t, witness in self._ledger.witnesses[level].items() if witness.length == length][-2048:]

    def _neighbour(self, token: int, level: str, known: list[int]) -> Tensor | None:
        """The solution found for a token with a similar output row."""
        if self._output is None or not known:
            return None
        weight = self._output[0]
        near = known[int((weight[known] @ weight[token]).argmax())]
        return self._ledger_points(near, level)

    def _ledger_points(self, token: int, level: str) -> Tensor | None:
        witness = self._ledger.witnesses[level][token]
        if witness.ids is not None:
            return self._live.rows[torch.from_numpy(witness.ids.astype(np.int64))]
        if witness.points is not None:
            return torch.from_numpy(witness.points).to(self._live.device)
        return None


# --- what an engine is given ----------------------------------------------------------------------------------------

Progress = Callable[[], None]
TimeIsUp = Callable[[], bool]


@dataclass(frozen=True)
class Task:
    """One level at one length.

    Attributes:
        level, length: where to search; length counts free positions.
        targets: tokens to look for.
        starts: where attempts begin.
        settings: optimiser, loss, engine, steps and restarts.
        time_is_up: asked at every turn.
        progress: called after every turn.
        generator: of everything random that is no starting point.
    """

    level: str
    length: int
    targets: Int64[np.ndarray, " n"]
    starts: Starts
    settings: SearchSettings
    time_is_up: TimeIsUp = bool  # never
    progress: Progress = lambda: None
    generator: torch.Generator = field(default_factory=torch.Generator)
