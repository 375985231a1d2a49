"""Tiny random models of a class, and what passes their modules in a run."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from reach.heads.twin.shrink import shrunk, with_few_layers

_MOST_NUMBERS = 8e7
"""Parameters of a twin: more would take too long, and more than a GiB."""
_SEQUENCE = 7
_SPREAD = 0.1
_LOGITS = 10.0
"""Standard deviation of the logits that is aimed at: caps in use are 15 to 50."""


class NoTwin(Exception):
    """A class of which no small model could be built and run; says why."""


@dataclass(frozen=True)
class Call:
    """What one module was given and returned, as rows of float64 numbers.

    Attributes:
        name: the module's name in the model.
        module: the module itself.
        given: `(n, k)` its first input.
        returned: `(n, m)` its first output.
    """

    name: str
    module: nn.Module
    given: Float64[Tensor, "n k"]
    returned: Float64[Tensor, "n m"]


@dataclass(frozen=True)
class Twin:
    """A tiny random model that has run.

    Attributes:
        model: the model, in `dtype`.
        calls: its modules' calls, in the order in which they ended.
        logits: `(n, v)` what it returned.
        dtype: what it was run in.
        skipped: names of the layers that were left out, because they do not run at this size; none if all did.
    """

    model: nn.Module
    calls: list[Call]
    logits: Float64[Tensor, "n v"]
    dtype: torch.dtype
    skipped: tuple[str, ...]


def build_twin(kind: Any, entries: Mapping[str, Any], seed: int = 0, *, only: str | None = None) -> Twin:
    """A twin of a class of transformers, with the settings of a config.

    Args:
        kind: the class of the model.
        entries: of its config.
        seed: of its weights.
        only: the one way to make the config small that is tried; none tries all.

    Raises:
        NoTwin: none could be built and run; the message has the reasons.
    """
    reasons: list[str] = []
    with _quietly():
        for skip in (False, True):
            for _, small in shrunk(entries, only):
                for dtype in (torch.float64, torch.float32):
                    try:
                        model = _model(kind, small, dtype, seed)
                        twin = _without_layers(model, dtype) if skip else Twin(model, *_run(model), dtype, ())
                        return _with_large_logits(twin)
                    except Exception as error:  # a class of transformers may raise anything
                        said = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
                        if said not in reasons:
                            reasons.append(said)
    raise NoTwin(reasons[0] if reasons else "no way to make its config small")


def full_size(kind: Any, entries: Mapping[str, Any]) -> Any:
    """The model itself, with few layers if it can be had so, without any memory for its weights: for shapes, names.

    Raises:
        NoTwin: it cannot be built.
    """
    reason = ""
    with _quietly(), torch.device("meta"):
        for chosen in (with_few_layers(entries), dict(entries)):
            try:
                return kind(kind.config_class.from_dict(chosen))
            except Exception as error:  # a class of transformers may raise anything
                reason = reason or f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    raise NoTwin(reason)


def randomise(model: nn.Module, seed: int) -> None:
    """Give every parameter, and every buffer that is named as a bias, values of its own.

    Classes start norms at one and biases at zero, where forms that differ look alike.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter.dtype), alpha=_SPREAD)
        for name, buffer in model.named_buffers():
            if buffer.is_floating_point() and "bias" in name.rpartition(".")[2]:
                buffer.add_(torch.randn(buffer.shape, generator=generator).to(buffer.dtype), alpha=_SPREAD)


def _model(kind: Any, entries: Mapping[str, Any], dtype: torch.dtype, seed: int) -> Any:
    config = kind.config_class.from_dict(dict(entries))
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"
    with torch.device("meta"):
        numbers = sum(parameter.numel() for parameter in kind(config).parameters())
    if numbers > _MOST_NUMBERS:
        raise NoTwin(f"its smallest model has {numbers:.2g} parameters")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(config).to(dtype).eval()
    randomise(model, seed + 1)
    return model


def _run(model: Any) -> tuple[list[Call], Float64[Tensor, "n v"]]:
    """Run it on random tokens and listen to all modules."""
    calls: list[Call] = []

    def listen(name: str) -> Any:
        def hook(module: nn.Module, given: tuple[Any, ...], named: Mapping[str, Any], returned: Any) -> None:
            one = _first([*given, *named.values()])
            other = _first([returned] if isinstance(returned, Tensor) else list(_parts(returned)))
            if one is not None and other is not None:
                calls.append(Call(name, module, _rows(one), _rows(other)))

        return hook

    with contextlib.ExitStack() as stack, torch.no_grad():
        for name, module in model.named_modules():
            stack.callback(module.register_forward_hook(listen(name), with_kwargs=True).remove)
        logits = _answer(model)
    return [call for call in calls if call.name], _rows(logits)


def _answer(model: Any) -> Tensor:
    rows = len(model.get_input_embeddings().weight)
    ids = torch.randint(rows // 2, rows, (1, _SEQUENCE), generator=torch.Generator().manual_seed(0))
    inputs = {"input_ids": ids, "use_cache": False}
    if getattr(model.config, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = ids
    try:
        answer = model(**inputs)
    except TypeError as error:
        if "use_cache" not in str(error):
            raise
        del inputs["use_cache"]
        answer = model(**inputs)
    logits = answer.logits if hasattr(answer, "logits") else answer.prediction_logits
    if not torch.isfinite(logits).all():
        raise NoTwin("its logits are not finite")
    return logits


def _with_large_logits(twin: Twin) -> Twin:
    """The same with an output matrix so long that a cap on the logits shows."""
    for _ in range(2):
        size = float(twin.logits.std())
        matrix = getattr(twin.model.get_output_embeddings(), "weight", None)  # type: ignore[operator]
        if not isinstance(matrix, Tensor) or not size > 0:
            break
        with torch.no_grad():
            matrix *= _LOGITS / size
        twin = Twin(twin.model, *_run(twin.model), twin.dtype, twin.skipped)
    return twin


def _without_layers(model: Any, dtype: torch.dtype) -> Twin:
    """Run a model whose layers hand on what they are given: what comes after them is the same."""
    for names in leaving_out_layers(model):
        try:
            return Twin(model, *_run(model), dtype, names)
        except Exception as error:  # the other form may be what the model asks for
            reason = error
    raise reason


def leaving_out_layers(model: nn.Module) -> Iterator[tuple[str, ...]]:
    """Let the layers of a model hand on what they are given, in one form after the other; yields their names."""
    layers = [
        (f"{name}.{number}", layer)
        for name, part in model.named_modules()
        if isinstance(part, nn.ModuleList)
        for number, layer in enumerate(part)
        if type(layer).__name__.endswith(("Layer", "Block"))
    ]
    for wrap in (lambda hidden: hidden, lambda hidden: (hidden,)):
        for _, layer in layers:
            layer.forward = _handing_on(wrap)
        yield tuple(name for name, _ in layers)


def _handing_on(wrap: Callable[[Tensor], Any]) -> Callable[..., Any]:
    def forward(*given: Any, **named: Any) -> Any:
        hidden = _first([named.get("hidden_states"), *given, *named.values()])
        assert hidden is not None
        return wrap(hidden)

    return forward


def _first(parts: list[Any]) -> Tensor | None:
    return next((part.detach() for part in parts if isinstance(part, Tensor) and part.is_floating_point()), None)


def _parts(returned: Any) -> Iterator[Any]:
    if isinstance(returned, Mapping):
        yield from returned.values()
    elif isinstance(returned, (tuple, list)):
        yield from returned


def _rows(tensor: Tensor) -> Float64[Tensor, "n k"]:
    return tensor.reshape(-1, tensor.shape[-1]).to(torch.float64) if tensor.ndim else tensor.reshape(1, 1).double()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
