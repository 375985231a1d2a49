"""The live model behind a head: the class that its config names, run in float32, and what passes its last stages."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reach.heads.adapter_merge import MergedAdapter
from reach.heads.head import Head
from reach.heads.weights import first_difference
from reach.pretrained import pretrained_model
from solvers.errors import BadInput, MissingExtra

SEQUENCE_LENGTHS = (1, 6, 24)
"""Tokens in each random sequence."""

SAMPLE_TEXT = "The quick brown fox jumps over the lazy dog."
"""Read by the model too where a tokenizer is given."""


@dataclass(frozen=True)
class LastStages:
    """What passed the last stages of a model for n positions, in float64.

    Attributes:
        before: `(n, k)` what enters the last norm; none where no norm ran.
        after: `(n, k)` what leaves it.
        entered: `(n, k)` what enters the output matrix.
        logits: `(n, v)` the model's logits.
    """

    before: Float[Tensor, "n k"] | None
    after: Float[Tensor, "n k"] | None
    entered: Float[Tensor, "n j"]
    logits: Float[Tensor, "n v"]


class LiveHead:
    """A live model in float32, which holds 16-bit weights exactly.

    Attributes:
        random_parts: the parameters that its files do not hold, and that transformers made up at random.

    Args:
        model: the model's folder or Hub id.
        head: the head as read from the files.

    Raises:
        MissingExtra: transformers is not installed.
        BadInput: transformers cannot load the model, or it has no output matrix.
    """

    def __init__(self, model: str | Path, head: Head) -> None:
        try:
            import transformers
        except ImportError:
            raise MissingExtra("a self-check runs the live model and needs: pip install transformers") from None
        # The class that the files are of. Another one that can read them may leave a part of the head out.
        named = getattr(transformers, head.architecture, None)
        known = isinstance(named, type) and issubclass(named, transformers.PreTrainedModel)
        kind = named if known else transformers.AutoModelForCausalLM
        try:
            live, info = pretrained_model(
                kind,
                model,
                dtype=torch.float32,
                output_loading_info=True,
                revision=head.revision or "main",
            )
            self._model = live.eval()
            self._matrix = live.get_output_embeddings()
        except Exception as error:  # whatever transformers raises is a reason why this model cannot be checked
            reason = _short(error)
            raise BadInput(f"{model}: transformers cannot load the live model for the self-check: {reason}") from None
        if not isinstance(getattr(self._matrix, "weight", None), Tensor):
            raise BadInput(
                f"{model}: the self-check failed: the live model, {type(live).__name__}, has no output matrix "
                "over the vocabulary, so the head that was read is not its own"
            )
        self.random_parts = sorted(info.get("missing_keys", ()))
        if head.merged is not None:
            _run_beside(self._model, head.merged)

    def faults(self, head: Head) -> list[str]:
        """Where the matrix and the bias that the live model multiplies by and adds are not those of the head."""
        found = []
        stored = head.weight if head.source is None else head.source[:, : self._matrix.weight.shape[1]]
        if stored.dtype == torch.float64:
            stored = stored.to(torch.float32)
        row = first_difference(self._matrix.weight.detach(), stored)
        if row is not None:
            found.append(
                f"the live model's output matrix is not the one that was read (the first other row is {row})"
            )
        live = torch.zeros(head.v, dtype=torch.float64)
        for bias in (getattr(self._matrix, "bias", None), getattr(self._model, "final_logits_bias", None)):
            if isinstance(bias, Tensor) and bias.numel() == head.v:
                live = live + bias.detach().to(torch.float64).reshape(-1)
        ours = torch.zeros(head.v) if head.bias is None else head.bias.to(torch.float32)
        other = torch.nonzero(live != ours.to(torch.float64)).flatten()
        if len(other):
            found.append(
                f"the bias that the live model adds is not the one that was read ({len(other)} of {head.v} entries "
                f"differ, the first is that of token {int(other[0])})"
            )
        return found

    def passes(self, head: Head, tokenizer: Any | None, seed: int) -> Iterator[LastStages]:
        """Run random sequences of several lengths, and a sentence where there is a tokenizer.

        Raises:
            BadInput: the model cannot run, or never calls its output matrix.
        """
        for ids in self._sequences(head.v, tokenizer, seed):
            yield self._forward(ids)

    def _sequences(self, v: int, tokenizer: Any | None, seed: int) -> Iterator[Int[Tensor, "1 n"]]:
        generator = torch.Generator().manual_seed(seed)
        config = self._model.config
        text = config.get_text_config() if hasattr(config, "get_text_config") else config
        positions = getattr(text, "max_position_embeddings", None)
        # Some models say with a number below 1 that they have no limit.
        most = positions if isinstance(positions, int) and positions > 0 else max(SEQUENCE_LENGTHS)
        for length in SEQUENCE_LENGTHS:
            yield torch.randint(0, v, (1, min(length, most)), generator=generator)
        if tokenizer is not None:
            encoded = tokenizer.encode(SAMPLE_TEXT)
            ids = [number for number in getattr(encoded, "ids", encoded) if number < v][:most]
            if ids:
                yield torch.tensor([ids])

    def _forward(self, ids: Int[Tensor, "1 n"]) -> LastStages:
        norms: list[tuple[Tensor, Tensor]] = []
        entered: list[Tensor] = []

        def norm_ran(_: Any, inputs: tuple[Any, ...], output: Any) -> None:
            if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                norms.append((inputs[0].detach(), output.detach()))

        inputs = {"input_ids": ids, "use_cache": False}
        if getattr(self._model.config, "is_encoder_decoder", False):
            inputs["decoder_input_ids"] = ids
        with contextlib.ExitStack() as stack:
            for module in self._model.modules():
                if "norm" in type(module).__name__.lower():
                    stack.callback(module.register_forward_hook(norm_ran).remove)
            hook = self._matrix.register_forward_hook(lambda _, inputs, __: entered.append(inputs[0].detach()))
            stack.callback(hook.remove)
            try:
                with torch.no_grad():
                    logits = self._model(**inputs).logits
            except Exception as error:  # models of every kind, with faults of every kind
                raise BadInput(f"the live model cannot run: {_short(error)}") from None
        if not entered:
            raise BadInput("the live model's output matrix was never called, so its head cannot be compared")
        # The last norm that ran is the one before the head, whatever it is called and wherever it stands.
        before, after = norms[-1] if norms else (None, None)
        return LastStages(
            None if before is None else _rows(before),
            None if after is None else _rows(after),
            _rows(entered[-1]),
            _rows(logits),
        )


def _run_beside(live: Any, merged: MergedAdapter) -> None:
    """Let a model run with its adapter beside its head, as one that was not merged does.

    Raises:
        BadInput: the model has no such module.
    """
    try:
        for path, tensor in merged.replaced.items():
            module, _, name = path.rpartition(".")
            parameter = torch.nn.Parameter(tensor.to(torch.float32), requires_grad=False)
            setattr(live.get_submodule(module), name, parameter)
        if merged.low_rank is not None:
            change = merged.low_rank
            down, up = change.right.to(torch.float32).T, change.left.to(torch.float32).T
            live.get_submodule(change.path).register_forward_hook(
                lambda _, inputs, output: output + change.scale * (inputs[0] @ down @ up)
            )
    except AttributeError as error:
        raise BadInput(f"the live model has no place for the adapter: {_short(error)}") from None


def _rows(tensor: Tensor) -> Float[Tensor, "n k"]:
    return tensor.reshape(-1, tensor.shape[-1]).to(torch.float64)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
