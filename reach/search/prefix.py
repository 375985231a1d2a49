"""Keys and values of the fixed tokens in front, computed once instead of in every pass."""

from __future__ import annotations

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


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
