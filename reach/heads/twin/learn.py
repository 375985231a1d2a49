"""From a twin to the facts about a head: its matrix, its norm, what stands between them and behind them.

Nothing is taken from names. A claim counts if the numbers that passed the twin bear it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from reach.heads.norm_form import is_shifted, norm_kind
from reach.heads.overrides import NormForm
from reach.heads.tensor_names import is_head_like
from reach.heads.twin.build import Call, NoTwin, Twin, build_twin
from reach.heads.twin.names import LAST
from reach.heads.twin.norms import ROOM, FoundNorm, norm_of, normalised
from reach.heads.twin.shrink import TWICE

_POWERS = (0.0, -0.5, -1.0, 0.5, 1.0)
"""How a factor on the logits may go with the width."""


class NotUnderstood(Exception):
    """A twin ran, but what it does after its last norm is none of the forms known here; says what was seen."""


class Learnt(msgspec.Struct, frozen=True):
    """What a twin shows of the head of its class, by the names that parameters have in the live model.

    Attributes:
        class_name: the class.
        weight: names of the output matrix, its own first, then those of the same parameter elsewhere.
        tied: whether it is the input embedding.
        embedding: names of the input embedding.
        norm: form of the last norm before it; none where no norm's output reaches it.
        eps: of the norm.
        gamma, beta: names of its factors and shift; none where it has none.
        projection: name of a matrix between norm and output matrix; none where there is none.
        bias: names of what is added to the logits; none where nothing is.
        others: names of parameters beside those, or called like an output matrix, that are something else.
        factor: what logits are multiplied by, at width d: `factor`·d^`power`.
        power: see `factor`.
        softcap: cap c of c·tanh(logit/c), or none.
        note: what a reader of verdicts should know, or an empty string.
    """

    class_name: str
    weight: tuple[str, ...]
    tied: bool
    embedding: tuple[str, ...]
    norm: NormForm
    eps: float | None
    gamma: str | None
    beta: str | None
    projection: str | None
    bias: tuple[str, ...]
    others: tuple[str, ...]
    factor: float
    power: float
    softcap: float | None
    note: str


def learn(kind: Any, entries: Mapping[str, Any]) -> Learnt:
    """Build twins of a class and find out what their head is.

    Args:
        kind: a class of transformers.
        entries: of the config whose settings they take.

    Raises:
        NoTwin: no twin runs.
        NotUnderstood: it does something that is none of the forms known here.
    """
    reading = _Reading(build_twin(kind, entries))
    found = reading.learnt(kind.__name__)
    return found if found.factor == 1.0 else _with_power(found, kind, entries, reading.width)


def _with_power(found: Learnt, kind: Any, entries: Mapping[str, Any], width: int) -> Learnt:
    """How a factor on the logits, known at one width, goes with it: told by a twin of another one."""
    for other in (TWICE, "all to the same", "widths as they are", "in proportion"):
        try:
            reading = _Reading(build_twin(kind, entries, only=other))
            factor = reading.learnt(kind.__name__).factor
        except (NoTwin, NotUnderstood):
            continue
        ratio = reading.width / width
        if ratio == 1:
            continue
        for power in _POWERS:
            if abs(factor / found.factor - ratio**power) <= 1e-6 * ratio**power:
                return msgspec.structs.replace(found, factor=found.factor / width**power, power=power)
        raise NotUnderstood(
            f"its logits are multiplied by {found.factor:g} at width {width}, by {factor:g} at another"
        )
    raise NotUnderstood(
        f"its logits are multiplied by {found.factor:g}, and how that goes with its width is not known"
    )


class _Reading:
    """One twin, read."""

    def __init__(self, twin: Twin) -> None:
        self.twin = twin
        self.head = self._head()
        self.before = twin.calls[: twin.calls.index(self.head)]
        self.parameters = {
            **dict(twin.model.named_buffers(remove_duplicate=False)),
            **dict(twin.model.named_parameters(remove_duplicate=False)),
        }

    @property
    def width(self) -> int:
        """Number of columns of the output matrix."""
        return self.head.given.shape[1]

    def _head(self) -> Call:
        """The last call of the output matrix."""
        matrix = self.twin.model.get_output_embeddings()  # type: ignore[operator]
        calls = [call for call in self.twin.calls if call.module is matrix]
        if not calls:
            rows = self.twin.logits.shape[1]
            calls = [call for call in self.twin.calls if _is_matrix(call.module, rows)]
        if not calls:
            raise NotUnderstood("no module of it is an output matrix over the vocabulary")
        return calls[-1]

    def learnt(self, class_name: str) -> Learnt:
        """All of it."""
        matrix, product = self._product()
        after, bias, softcap = self._after(product)
        norm, call, before, projection, note = self._norm()
        if bias and before != 1.0:
            raise NotUnderstood(f"its states are multiplied by {before:g} before a bias is added to the logits")
        if norm is not None:
            self._confirm(after * before * self._put_together(norm, call, projection, matrix, bias), softcap)
        embedding = self._aliases(self.twin.model.get_input_embeddings().weight)  # type: ignore[operator]
        own = self._aliases(matrix)
        return Learnt(
            class_name=class_name,
            weight=tuple(sorted(own, key=lambda name: (not name.startswith(self.head.name), name))),
            tied=bool(set(own) & set(embedding)),
            embedding=embedding,
            norm="none" if norm is None else norm.form,
            eps=None if norm is None else norm.eps,
            gamma=None if norm is None or norm.gamma is None else self._anywhere(f"{call.name}.{norm.gamma}"),
            beta=None if norm is None or norm.beta is None else self._anywhere(f"{call.name}.{norm.beta}"),
            projection=None if projection is None else self._anywhere(projection),
            bias=bias,
            others=self._others(own, (*own, *embedding, *bias, f"{call.name}.weight")),
            factor=_rounded(after * before),
            power=0.0,
            softcap=softcap,
            note=note,
        )

    def _put_together(
        self, norm: FoundNorm, call: Call, projection: str | None, matrix: Tensor, bias: tuple[str, ...]
    ) -> Float64[Tensor, "n v"]:
        """What was found, from the state that enters the norm to the logits before any factor and cap."""

        def numbers(name: str) -> Float64[Tensor, "..."]:
            return self.parameters[name].detach().double()

        state = normalised(call.given, norm.eps, centred=norm_kind(norm.form) == "layernorm")
        if norm.gamma is not None:
            state = state * (numbers(f"{call.name}.{norm.gamma}") + float(is_shifted(norm.form)))
        if norm.beta is not None:
            state = state + numbers(f"{call.name}.{norm.beta}")
        if projection is not None:
            state = state @ numbers(projection).T
        logits = state[-len(self.head.given) :] @ matrix.detach().double().T
        return logits + numbers(bias[0]).reshape(-1) if bias else logits

    def _confirm(self, logits: Float64[Tensor, "n v"], softcap: float | None) -> None:
        """Each part was told by itself; this is whether the whole is the model's."""
        ours = logits if softcap is None else softcap * torch.tanh(logits / softcap)
        off = float((ours - self.twin.logits).abs().max() / self.twin.logits.abs().max())
        if not off <= 10 * ROOM:
            raise NotUnderstood(f"put together, what was found gives other logits: off by {off:.2g} of the largest")

    def _product(self) -> tuple[Tensor, Float64[Tensor, "n v"]]:
        matrix = self.head.module.weight
        if not isinstance(matrix, Tensor) or matrix.ndim != 2 or matrix.shape[1] != self.head.given.shape[1]:
            raise NotUnderstood(f"{self.head.name}, its output matrix, is no plain matrix")
        return matrix, self.head.given @ matrix.detach().double().T

    def _after(self, product: Float64[Tensor, "n v"]) -> tuple[float, tuple[str, ...], float | None]:
        """What makes the logits of the product: a factor, the names of a bias, a cap."""
        logits = self.twin.logits
        if logits.shape != product.shape:
            raise NotUnderstood(f"it returns {tuple(logits.shape)} logits for {tuple(product.shape)} products")
        vectors = {
            name: value.detach().double().reshape(-1)
            for name, value in self.parameters.items()
            if value.numel() == logits.shape[1] and value.is_floating_point()
        }
        for bias in (None, *vectors):
            raw = product if bias is None else product + vectors[bias]
            factor = _factor(raw, logits)
            if factor is not None:
                return factor, self._names_of(bias), None
            for cap in self._numbers():
                factor = _factor_under_cap(raw, logits, cap)
                if factor is not None:
                    return factor, self._names_of(bias), cap
        raise NotUnderstood(
            "its logits are not the products with its output matrix, times a factor, plus a bias, capped"
        )

    def _names_of(self, bias: str | None) -> tuple[str, ...]:
        return () if bias is None else self._aliases(self.parameters[bias])

    def _others(self, matrices: tuple[str, ...], read: tuple[str, ...]) -> tuple[str, ...]:
        """What is called like an output matrix, or shares a module with what is read, and is none."""
        modules = {name.rpartition(".")[0] for name in read}
        return tuple(
            name
            for name in self.parameters
            if name not in matrices and (is_head_like(name) or any(name.startswith(f"{one}.") for one in modules))
        )

    def _anywhere(self, name: str) -> str:
        """The name with a mark in place of the number of the last layer: the model itself has more of them."""
        parts = name.split(".")
        for at in range(1, len(parts)):
            if parts[at].isdigit():
                layers = self.twin.model.get_submodule(".".join(parts[:at]))
                if isinstance(layers, nn.ModuleList) and int(parts[at]) == len(layers) - 1:
                    parts[at] = LAST
                    break
        return ".".join(parts)

    def _numbers(self) -> list[float]:
        """Numbers in the config that could be a cap."""
        config: Any = self.twin.model.config
        found = [config.to_dict(), config.get_text_config().to_dict()]
        return sorted({float(x) for part in found for x in part.values() if isinstance(x, (int, float)) and x > 1})

    def _norm(self) -> tuple[FoundNorm | None, Call, float, str | None, str]:
        """The last norm whose output enters the output matrix, its call, factor and projection between, a note.

        Without one the call is that of the output matrix itself.
        """
        entered, skipped = self.head.given, self.twin.skipped
        for at in range(len(self.before) - 1, -1, -1):
            call = self.before[at]
            for between, projection in self._ways(at, call.returned, entered):
                norm = norm_of(call.module, call.given, self.twin.dtype)
                if norm is None:
                    continue
                if any(call.name.startswith(f"{layer}.") for layer in skipped):
                    raise NotUnderstood("its layers do not run at a small size, and its last norm is in one of them")
                return norm, call, between, projection, ""
        if skipped:
            raise NotUnderstood("its layers do not run at a small size, and no norm comes after them")
        last = next((call.name for call in reversed(self.before) if _factor(call.returned, entered) is not None), "")
        where = f" (it reads what {last} returns)" if last else ""
        return (
            None,
            self.head,
            1.0,
            None,
            f"no norm's output enters its output matrix{where}: verdicts are over all states",
        )

    def _ways(
        self, at: int, returned: Float64[Tensor, "n d"], entered: Float64[Tensor, "n k"]
    ) -> list[tuple[float, str | None]]:
        """How a module's output may reach the output matrix: times a factor, or through one plain matrix."""
        factor = _factor(returned, entered)
        ways: list[tuple[float, str | None]] = [] if factor is None else [(factor, None)]
        for call in self.before[at + 1 :]:
            if (
                isinstance(call.module, nn.Linear)
                and call.module.bias is None
                and call.returned.shape == entered.shape
            ):
                one, two = _factor(returned, call.given), _factor(call.returned, entered)
                if one is not None and two is not None:
                    ways.append((one * two, f"{call.name}.weight"))
        return ways

    def _aliases(self, parameter: Tensor) -> tuple[str, ...]:
        return tuple(name for name, value in self.parameters.items() if value is parameter)


def _is_matrix(module: nn.Module, rows: int) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(module, nn.Linear) and isinstance(weight, Tensor) and weight.shape[0] == rows


def _factor(one: Float64[Tensor, "m k"], two: Float64[Tensor, "n k"]) -> float | None:
    """s > 0 with two = s·one, or none. Where the first has more rows, its last are meant: prompts come before."""
    if one.shape[1] != two.shape[1] or len(one) < len(two):
        return None
    one = one[len(one) - len(two) :]
    square = float((one * one).sum())
    if not square > 0:
        return None
    factor = float((one * two).sum()) / square
    room = ROOM * float(two.abs().max())
    return factor if factor > 0 and float((two - factor * one).abs().max()) <= room else None


def _factor_under_cap(raw: Float64[Tensor, "n v"], logits: Float64[Tensor, "n v"], cap: float) -> float | None:
    """s > 0 with logits = cap·tanh(s·raw/cap), or none. Told where the cap is far, and tried everywhere."""
    share = logits / cap
    free = (share.abs() < 0.9) & (raw.abs() > 0)
    if not bool(free.any()) or not bool((share.abs() < 1 + ROOM).all()):
        return None
    factor = _factor(raw[free][None], cap * torch.atanh(share[free])[None])
    if factor is None or float((cap * torch.tanh(factor * raw / cap) - logits).abs().max()) > ROOM * cap:
        return None
    return factor


def _rounded(factor: float) -> float:
    """1 where a factor is 1 but for rounding."""
    return 1.0 if abs(factor - 1) < 10 * ROOM else factor
