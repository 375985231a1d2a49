"""Heads of TransformerLens models, by objects with the attributes and the arithmetic of its HookedTransformer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import reach
from solvers.domains import Ball, Free
from solvers.errors import BadInput


class _Unembed(nn.Module):
    def __init__(self, d: int, v: int) -> None:
        super().__init__()
        self.W_U = nn.Parameter(torch.randn(d, v))
        self.b_U = nn.Parameter(torch.randn(v))


class _Norm(nn.Module):
    """Centres or not, divides by √(mean square + eps), and multiplies by `w` and adds `b` where it has them."""

    def __init__(self, d: int, eps: float, *, centred: bool, folded: bool) -> None:
        super().__init__()
        self.eps, self.centred = eps, centred
        self.w = None if folded else nn.Parameter(1 + 0.3 * torch.randn(d))
        self.b = None if folded or not centred else nn.Parameter(0.3 * torch.randn(d))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x - x.mean(-1, keepdim=True) if self.centred else x
        x = x / (x.pow(2).mean(-1, keepdim=True) + self.eps).sqrt()
        x = x if self.w is None else x * self.w
        return x if self.b is None else x + self.b


class _Hooked(nn.Module):
    def __init__(self, norm: nn.Module | None, cap: float = 0.0) -> None:
        super().__init__()
        self.unembed = _Unembed(8, 30)
        if norm is not None:
            self.ln_final = norm
        self.cfg = SimpleNamespace(model_name="toy", output_logits_soft_cap=cap)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        x = self.ln_final(x) if hasattr(self, "ln_final") else x
        out = x @ self.unembed.W_U + self.unembed.b_U
        cap = self.cfg.output_logits_soft_cap
        return cap * torch.tanh(out / cap) if cap else out


@pytest.mark.parametrize(
    ("norm", "kind"),
    [
        (lambda: _Norm(8, 1e-5, centred=True, folded=False), "layernorm"),
        (lambda: _Norm(8, 1e-5, centred=True, folded=True), "layernorm"),
        (lambda: _Norm(8, 1e-6, centred=False, folded=False), "rmsnorm"),
        (lambda: _Norm(8, 1e-6, centred=False, folded=True), "rmsnorm"),
        (lambda: None, None),
    ],
)
@pytest.mark.parametrize("cap", [0.0, 4.0])
def test_the_head_is_the_live_one(norm: Any, kind: str | None, cap: float) -> None:
    torch.manual_seed(0)
    model = _Hooked(norm(), cap).double()
    head = reach.load(model)
    assert head.norm == kind
    assert head.domain == (Free() if kind is None else Ball(8.0))
    states = torch.randn(6, 8, dtype=torch.float64)
    ours = head.logits(head.normalise(states))
    ours = cap * torch.tanh(ours / cap) if cap else ours
    assert torch.allclose(ours, model.logits(states), atol=1e-12)
    assert head.softcap == (cap or None)


def test_it_can_be_scanned() -> None:
    torch.manual_seed(0)
    verdicts = reach.scan(reach.load(_Hooked(_Norm(8, 1e-5, centred=True, folded=False))))
    assert verdicts.totals.tokens == 30
    assert verdicts.totals.verdicts["undecided"] == 0


def test_a_norm_that_is_none_is_refused() -> None:
    with pytest.raises(BadInput, match="ln_final, a Tanh, does not do what a norm does"):
        reach.load(_Hooked(nn.Tanh()))


def test_overrides_are_refused() -> None:
    with pytest.raises(BadInput, match="leave out eps"):
        reach.load(_Hooked(None), eps=1e-3)


def test_another_domain() -> None:
    assert reach.load(_Hooked(None), domain="ball:2").domain == Ball(4.0)
