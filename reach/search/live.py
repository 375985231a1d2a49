"""The live model: fixed text around the free positions, passes from embeddings to logits, and who wins them."""

from __future__ import annotations

import copy
import inspect
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reach.pretrained import pretrained, pretrained_model
from reach.search.levels import NormRange
from solvers.errors import BadInput, MissingExtra


@dataclass(frozen=True)
class Winners:
    """First and second of each row of logits. A tie has margin 0, and NaN wins nothing."""

    top: Int[Tensor, "b p"]
    second: Int[Tensor, "b p"]
    margin: Float[Tensor, "b p"]


def winners(logits: Float[Tensor, "b p v"]) -> Winners:
    """Two maxima: several times as fast as `topk(2)` on a CPU.

    The logits are left as they were.
    """
    logits = logits.detach()
    best, top = _maximum(logits)
    logits.scatter_(-1, top[..., None], -torch.inf)
    next_best, second = _maximum(logits)
    logits.scatter_(-1, top[..., None], best[..., None])
    return Winners(top, second, best - next_best)


def _maximum(logits: Float[Tensor, "b p v"]) -> tuple[Float[Tensor, "b p"], Int[Tensor, "b p"]]:
    """Largest logits and where they are. NumPy's argmax is four times as fast as PyTorch's on a CPU."""
    if logits.device.type != "cpu":
        best, at = logits.max(dim=-1)
        return best, at
    at = torch.from_numpy(logits.numpy().argmax(axis=-1))
    return logits.gather(-1, at[..., None])[..., 0], at


def rivals(found: Winners, target: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
    """The strongest token other than each target at the last position."""
    return torch.where(found.top[:, -1] == target, found.second[:, -1], found.top[:, -1])


def lack_of(
    logits: Float[Tensor, "b p v"], rival: Int[Tensor, " b"], target: Int[Tensor, " b"]
) -> Float[Tensor, " b"]:
    """A rival's logit less the target's, at the last position."""
    last = logits[:, -1]
    return last.gather(1, rival[:, None])[:, 0] - last.gather(1, target[:, None])[:, 0]


# --- what was said before, remembered -------------------------------------------------------------------------------


class PrefixCache:
    """What a model remembers of its first tokens, for batches of any size."""

    def __init__(self, held: Any) -> None:
        self._held = held

    @classmethod
    @torch.no_grad()
    def of(cls, base: Any, before: Float[Tensor, "k d"], trial: Float[Tensor, "2 n d"]) -> PrefixCache | None:
        """Run the fixed tokens; none where the model keeps no such memory or goes on from it differently.

        Args:
            base: the model that leads to hidden states or logits.
            before: embeddings of the fixed tokens.
            trial: two inputs that are run with and without the memory: both ways must agree.
        """
        if not len(before):
            return None
        whole = torch.cat([before.expand(2, -1, -1), trial], dim=1)
        try:
            cache = cls(base(inputs_embeds=before[None].clone(), use_cache=True).past_key_values)
            plain = base(inputs_embeds=whole, use_cache=False)[0][:, len(before) :].float()
            quick = base(inputs_embeds=trial.clone(), past_key_values=cache.repeated(2), use_cache=True)[0].float()
        except Exception:  # each model class has errors of its own, and the long way is always there
            return None
        # Half precision rounds the two ways differently; a wrong position or mask is off by far more.
        loose = 1e-4 if before.dtype == torch.float32 else 0.05
        agree = plain.shape == quick.shape and float((plain - quick).abs().max()) <= loose * float(plain.abs().max())
        return cache if agree else None

    def repeated(self, count: int) -> Any:
        """A fresh copy for a batch: a pass adds its own positions to what it is given."""
        copied = copy.deepcopy(self._held)
        copied.batch_repeat_interleave(count)
        return copied


# --- the model ------------------------------------------------------------------------------------------------------

_SLACK = 4
"""Rounding as a multiple of √d·u·|logit|, what sums of d terms show (Higham and Mary 2019)."""


@dataclass(frozen=True)
class Pass:
    """One forward pass, at the last p positions: p is 1, or the number of free positions.

    Attributes:
        logits: without gradient on the short way, with it on the long one. Good until the next pass.
        hidden: what enters the output matrix; none where the model cannot be taken apart there.
    """

    logits: Float[Tensor, "b p v"]
    hidden: Float[Tensor, "b p d"] | None


class LiveModel:
    """A causal language model in evaluation mode, with frozen weights.

    Attributes:
        name: as the user named it.
        rows: `(v_in, d)` float32 input embeddings.
        v: number of logits.
        before, after: ids of the fixed tokens around the free positions.
        limit: number of positions that the model has, or none.
        short: logits are the output matrix applied to the base model's states, so the two can be run apart.
        prefix: keys and values of `before`; none where nothing is before or the model cannot go on from them.
        dtype: the model's own.
        rounding: what float32 may be off in a logit, about: a margin below that says nothing.
    """

    def __init__(
        self, model: Any, name: str, before: Sequence[int] = (), after: Sequence[int] = (), device: str = "cpu"
    ) -> None:
        """Check a model and freeze it.

        Raises:
            BadInput: the model is of a kind that cannot be searched, or its logits are not finite.
        """
        self.name, self.device = name, torch.device(device)
        self.dtype = next(model.parameters()).dtype
        _refuse(model, name)
        self._own = model.eval().requires_grad_(False).to(self.device)
        single = self.dtype == torch.float32
        self._model = self._own if single else copy.deepcopy(self._own).to(torch.float32)
        embeddings = self._model.get_input_embeddings()
        self.rows: Tensor = embeddings.weight.detach()
        self.range = NormRange.of(self.rows)
        text = self._model.config.get_text_config()
        positions = getattr(text, "max_position_embeddings", None)
        # Some models say with a number below 1 that they have no limit.
        self.limit: int | None = positions if isinstance(positions, int) and positions > 0 else None
        self.before, self.after = list(before), list(after)
        self._fixed = (self.rows[self.before], self.rows[self.after])
        self._output = self._model.get_output_embeddings()
        self._working = self._model
        self.short = True
        self.rounding = 0.0
        self._buffer = torch.empty(0)
        self.v = self._probe()
        self.prefix = self._remember()

    # --- what it can do ---------------------------------------------------------------------------------------------

    def check_length(self, length: int) -> None:
        """Refuse inputs that are longer than the model's positions.

        Raises:
            BadInput: too long.
        """
        total = len(self.before) + length + len(self.after)
        if self.limit is not None and total > self.limit:
            fixed = f" with {total - length} fixed tokens" if total > length else ""
            raise BadInput(f"--length {length}{fixed}: {self.name} has only {self.limit} positions")

    def _probe(self) -> int:
        """Run two tokens through every path; says how many logits there are."""
        ids = torch.tensor([[0, len(self.rows) - 1]], device=self.device)
        ids = ids[:, : self.limit] if self.limit is not None else ids
        try:
            with torch.no_grad():
                by_ids = self._model(input_ids=ids, use_cache=False).logits
                by_rows = self._model(inputs_embeds=self.rows[ids].clone(), use_cache=False).logits
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise BadInput(f"{self.name}: the model cannot run on input embeddings: {reason}") from None
        if not bool(torch.isfinite(by_ids).all()):
            raise BadInput(f"{self.name}: its logits are NaN or infinite, so the weights are damaged: get them again")
        close = 1e-4 * (1 + float(by_ids.abs().max()))
        if float((by_ids - by_rows).abs().max()) > close:
            raise BadInput(
                f"{self.name}: inputs_embeds of real tokens do not give their logits (the model reads ids elsewhere "
                "too), so it cannot be searched"
            )
        self.rounding = _SLACK * math.sqrt(self.rows.shape[1]) * 2.0**-24 * float(by_ids.abs().max())
        base = self._base()
        if base is None or self._output is None or not hasattr(self._output, "weight"):
            self.short = False
        else:
            with torch.no_grad():
                states = base(inputs_embeds=self.rows[ids].clone(), use_cache=False)[0]
                try:
                    again = self._output(states)
                    self.short = again.shape == by_ids.shape and float((again - by_ids).abs().max()) <= close
                except RuntimeError:
                    self.short = False
        return int(by_ids.shape[-1])

    def _base(self) -> Any:
        base = getattr(self._working, "base_model", None)
        return None if base is self._working else base

    def work_in(self, dtype: str) -> None:
        """Search in another dtype; the check stays in float32."""
        wanted = getattr(torch, dtype)
        self._working = self._model if wanted == torch.float32 else copy.deepcopy(self._model).to(wanted)
        self._output = self._working.get_output_embeddings()
        self.prefix = self._remember()

    def _remember(self) -> PrefixCache | None:
        before = self._fixed[0].to(next(self._working.parameters()).dtype)
        # Two free positions, so that a mask that lets a position see the next one is found out.
        room = 2 if self.limit is None else min(2, self.limit - len(before))
        if room < 1:
            return None
        trial = self.rows[torch.arange(2 * room, device=self.device) % len(self.rows)].view(2, room, -1)
        return PrefixCache.of(self._base() if self.short else self._working, before, trial.to(before.dtype))

    # --- passes -----------------------------------------------------------------------------------------------------

    def run(self, e: Float[Tensor, "b k d"], *, gradient: bool, last: bool = False) -> Pass:
        """From the embeddings of the free positions to logits.

        Every free position counts, because what stands before it is an input in its own right; only the last one
        where fixed text follows, or where no more is asked for.
        """
        before, after = self._fixed
        count = 1 if last or self.after else e.shape[1]
        parts = [part.expand(len(e), -1, -1) for part in (before,) if len(part) and self.prefix is None] + [e]
        parts += [after.expand(len(e), -1, -1)] if len(after) else []
        # Some models change what they are given in place: never hand over what is used again.
        x = torch.cat(parts, dim=1) if len(parts) > 1 else e.clone()
        working = next(self._working.parameters()).dtype
        known: dict[str, Any] = {"use_cache": False}
        if self.prefix is not None:
            known = {"past_key_values": self.prefix.repeated(len(e)), "use_cache": True}
        with torch.set_grad_enabled(gradient):
            x = x.to(working)
            if not self.short:
                logits = self._working(inputs_embeds=x, **known).logits[:, -count:]
                return Pass(logits.float(), None)
            hidden = self._base()(inputs_embeds=x, **known)[0][:, -count:]
        return Pass(self._head(hidden.detach()), hidden)

    @torch.no_grad()
    def _head(self, hidden: Float[Tensor, "b p d"]) -> Float[Tensor, "b p v"]:
        """All logits. On a CPU they go into one buffer: asking for that much fresh memory costs as much as the
        product itself."""
        if (
            self.device.type != "cpu"
            or not isinstance(self._output, torch.nn.Linear)
            or hidden.dtype != torch.float32
        ):
            return self._output(hidden).float()
        flat = hidden.reshape(-1, hidden.shape[-1])
        if self._buffer.numel() < len(flat) * self.v:
            self._buffer = torch.empty(len(flat) * self.v)
        out = self._buffer[: len(flat) * self.v].view(len(flat), self.v)
        weight, bias = self._output.weight, self._output.bias
        if bias is None:
            torch.mm(flat, weight.T, out=out)
        else:
            torch.addmm(bias, flat, weight.T, out=out)
        return out.view(*hidden.shape[:-1], self.v)

    def row_margin(
        self, hidden: Float[Tensor, "b d"], token: Int[Tensor, " b"], rival: Int[Tensor, " b"]
    ) -> Float[Tensor, " b"]:
        """Logit of one token less that of another, with gradient: two rows of the output matrix instead of all."""
        weight, bias = self._output.weight, getattr(self._output, "bias", None)
        margin = (hidden * (weight[token] - weight[rival])).sum(1)
        return (margin if bias is None else margin + bias[token] - bias[rival]).float()

    def lack(self, passed: Pass, found: Winners, target: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        """What each target's logit lacks on its strongest rival at the last position, with gradient."""
        rival = rivals(found, target)
        if passed.hidden is not None:
            return -self.row_margin(passed.hidden[:, -1], target, rival)
        return lack_of(passed.logits, rival, target)

    def full_logits(self, hidden: Float[Tensor, "b d"]) -> Float[Tensor, "b v"]:
        """All logits, with gradient."""
        return self._output(hidden).float()

    def model_logits(self, e: Float[Tensor, "b k d"]) -> Float[Tensor, "b v"]:
        """Logits at the last position through the model's own forward, with gradient and no shortcut."""
        before, after = (part.expand(len(e), -1, -1) for part in self._fixed)
        return self._model(inputs_embeds=torch.cat([before, e, after], dim=1), use_cache=False).logits[:, -1].float()

    @property
    def model(self) -> Any:
        """The whole model in float32, for libraries that want it as it is."""
        return self._model

    def parameters(self) -> Iterator[Tensor]:
        """The weights that the search works with."""
        return iter(self._working.parameters())

    def output_rows(self) -> tuple[Float[Tensor, "v d"], Float[Tensor, " v"] | None] | None:
        """The output matrix and its bias in float32, or none where the model cannot be taken apart there."""
        if not self.short:
            return None
        output = self._model.get_output_embeddings()
        return output.weight, getattr(output, "bias", None)

    # --- the check --------------------------------------------------------------------------------------------------

    def alone(
        self, *, ids: Sequence[int] | None = None, points: Float[Tensor, "k d"] | None = None, own: bool = False
    ) -> Float[Tensor, " v"]:
        """Logits after one input, unbatched, through the model's own forward and no shortcut of ours.

        Args:
            ids: token ids between the fixed tokens, or
            points: embeddings between them.
            own: in the model's own dtype instead of float32.
        """
        model = self._own if own else self._model
        with torch.no_grad():
            if ids is not None:
                row = torch.tensor([[*self.before, *ids, *self.after]], device=self.device)
                logits = model(input_ids=row, use_cache=False).logits
            else:
                assert points is not None
                x = torch.cat([self._fixed[0], points.to(self.device, torch.float32), self._fixed[1]])[None]
                logits = model(inputs_embeds=x.to(next(model.parameters()).dtype), use_cache=False).logits
        return logits[0, -1].float()


def load_live_model(model: str, name: str, *, revision: str | None = None) -> Any:
    """The model in the dtype of its files.

    Raises:
        MissingExtra: transformers is not installed.
        BadInput: it is of another kind, or cannot be loaded.
    """
    try:
        import transformers
    except ImportError:
        raise MissingExtra("a search runs the live model and needs: pip install transformers") from None
    transformers.utils.logging.disable_progress_bar()
    options = {} if revision is None else {"revision": revision}
    try:
        config = pretrained(transformers.AutoConfig, model, **options)
    except Exception as error:
        raise BadInput(f"{name}: transformers cannot read its config: {_short(error)}") from None
    _refuse_config(config, name)
    try:
        return pretrained_model(transformers.AutoModelForCausalLM, model, dtype="auto", **options)
    except Exception as error:
        raise BadInput(f"{name}: AutoModelForCausalLM cannot load it: {_short(error)}") from None


_SUPPORTED = "supported is every decoder that AutoModelForCausalLM loads and that takes inputs_embeds"


def _refuse_config(config: Any, name: str) -> None:
    if getattr(config, "is_encoder_decoder", False):
        raise BadInput(f"{name}: an encoder–decoder model ({config.model_type}); {_SUPPORTED}")
    kinds = getattr(config, "architectures", None) or []
    masked = [kind for kind in kinds if "MaskedLM" in kind or "ForPreTraining" in kind]
    if masked and not any("CausalLM" in kind or "LMHead" in kind for kind in kinds):
        raise BadInput(f"{name}: a masked model ({masked[0]}), which predicts no next token; {_SUPPORTED}")


def _refuse(model: Any, name: str) -> None:
    _refuse_config(model.config, name)
    if "inputs_embeds" not in inspect.signature(model.forward).parameters:
        raise BadInput(f"{name}: {type(model).__name__} takes no inputs_embeds; {_SUPPORTED}")
    if not hasattr(getattr(model, "get_input_embeddings", lambda: None)(), "weight"):
        raise BadInput(f"{name}: {type(model).__name__} has no matrix of input embeddings; {_SUPPORTED}")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


# --- threads --------------------------------------------------------------------------------------------------------

_ROUNDS = 3


def choose_threads(live: LiveModel, length: int, batch: int, jobs: int) -> int:
    """Set PyTorch's threads to 1 or `jobs`, whichever makes a pass with its slope faster; says which.

    Args:
        live: the model.
        length: free positions.
        batch: inputs at once.
        jobs: cores that may be used.
    """
    if jobs > 1 and live.device.type == "cpu":
        e = live.rows[torch.arange(batch * length) % len(live.rows)].view(batch, length, -1)
        seconds = {threads: _fastest(live, e, threads) for threads in (1, jobs)}
        jobs = min(seconds, key=lambda threads: seconds[threads])
    torch.set_num_threads(jobs)
    return jobs


def _fastest(live: LiveModel, e: torch.Tensor, threads: int) -> float:
    torch.set_num_threads(threads)
    best = float("inf")
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        x = e.clone().requires_grad_()
        passed = live.run(x, gradient=True, last=True)
        states = passed.logits if passed.hidden is None else passed.hidden
        torch.autograd.grad(states.sum(), x)
        best = min(best, time.perf_counter() - started)
    return best
