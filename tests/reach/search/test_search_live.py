"""What the live model gives, and what is refused in one line."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from tiny_search import live_of, saved, tiny_gpt2, tiny_llama
from torch import nn
from transformers import BertConfig, BertForMaskedLM, T5Config, T5ForConditionalGeneration

from reach.search.live import LiveModel, load_live_model
from solvers.errors import BadInput, MissingExtra


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_short_way_and_own_forward_agree(make):
    model = make()
    live = live_of(model, before=[3], after=[])
    assert live.short
    e = live.rows[torch.tensor([[4, 5], [6, 7]])]
    passed = live.run(e, gradient=False)
    assert passed.logits.shape == (2, 2, live.v)
    want = model(torch.tensor([[3, 4, 5], [3, 6, 7]])).logits[:, 1:]
    torch.testing.assert_close(passed.logits, want, atol=1e-4, rtol=1e-4)


def test_fixed_text_after_leaves_only_the_last_position():
    model = tiny_llama()
    live = live_of(model, before=[3], after=[9, 8])
    passed = live.run(live.rows[torch.tensor([[4, 5]])], gradient=False)
    want = model(torch.tensor([[3, 4, 5, 9, 8]])).logits[:, -1:]
    torch.testing.assert_close(passed.logits, want, atol=1e-4, rtol=1e-4)


def test_two_rows_give_the_same_margin_and_slope_as_all():
    live = live_of(tiny_gpt2())
    token, rival = torch.tensor([3, 4]), torch.tensor([7, 8])
    gradients = []
    for two_rows in (True, False):
        e = live.rows[torch.tensor([[4], [6]])].clone().requires_grad_()
        hidden = live.run(e, gradient=True).hidden[:, -1]
        if two_rows:
            margin = live.row_margin(hidden, token, rival)
        else:
            logits = live.full_logits(hidden)
            margin = (logits.gather(1, token[:, None]) - logits.gather(1, rival[:, None]))[:, 0]
        gradients.append((margin.detach(), torch.autograd.grad(margin.sum(), e)[0]))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-4, rtol=1e-4)


def test_a_model_that_changes_its_input_in_place_cannot_spoil_ours(real_models):
    live = LiveModel(load_live_model(str(real_models / "onmt-lm"), "onmt"), "onmt")
    e = live.rows[:2, None].clone()
    before = e.clone()
    live.run(e, gradient=False)
    assert torch.equal(e, before)
    points = live.rows[:2].clone()
    torch.testing.assert_close(live.alone(points=points), live.alone(ids=[0, 1]), atol=1e-4, rtol=1e-4)


def test_a_scaled_head_takes_the_long_way():
    class Scaled(type(tiny_llama())):
        def forward(self, *args, input_ids=None, inputs_embeds=None, **more):
            out = super().forward(*args, input_ids=input_ids, inputs_embeds=inputs_embeds, **more)
            out.logits = 3 * out.logits
            return out

    torch.manual_seed(0)
    live = live_of(Scaled(tiny_llama().config).eval())
    assert not live.short
    e = live.rows[torch.tensor([[4]])].clone().requires_grad_()
    assert live.run(e, gradient=True).logits.requires_grad
    assert live.output_rows() is None


def test_encoder_decoder_is_refused(tmp_path):
    config = T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    with pytest.raises(BadInput, match="encoder–decoder"):
        load_live_model(str(saved(T5ForConditionalGeneration(config), tmp_path / "t5")), "t5")


def test_masked_model_is_refused(tmp_path):
    config = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    with pytest.raises(BadInput, match="masked model"):
        load_live_model(str(saved(BertForMaskedLM(config), tmp_path / "bert")), "bert")


def test_model_without_inputs_embeds_is_refused():
    class IdsOnly(nn.Module):
        def __init__(self):
            super().__init__()
            self.config = SimpleNamespace(is_encoder_decoder=False, architectures=None)
            self.one = nn.Linear(1, 1)

        def forward(self, input_ids):
            return input_ids

    with pytest.raises(BadInput, match="takes no inputs_embeds"):
        LiveModel(IdsOnly(), "ids only")


def test_nan_logits_are_refused():
    model = tiny_llama()
    model.model.layers[0].mlp.down_proj.weight.data[0, 0] = torch.nan
    with pytest.raises(BadInput, match="NaN"):
        live_of(model)


def test_length_beyond_the_positions_is_refused():
    live = live_of(tiny_gpt2(), before=[1, 2])
    live.check_length(14)
    with pytest.raises(BadInput, match="only 16 positions"):
        live.check_length(15)


def test_missing_transformers_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match="pip install transformers"):
        load_live_model("anything", "anything")


def test_folder_without_config_is_one_line(tmp_path):
    with pytest.raises(BadInput, match="cannot read its config") as caught:
        load_live_model(str(tmp_path), "nothing")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize("after", [[], [9, 8]])
def test_remembered_prefix_changes_neither_logits_nor_slopes(make, after):
    model = make()
    quick, plain = (live_of(model, before=[3, 5, 3, 11], after=after) for _ in range(2))
    assert quick.prefix is not None
    plain.prefix = None
    e = quick.rows[torch.tensor([[4, 5, 6], [6, 7, 1], [0, 0, 2]])]
    for _ in range(2):  # the first pass must leave the memory as it was
        results = []
        for live in (quick, plain):
            x = e.clone().requires_grad_()
            passed = live.run(x, gradient=True)
            results.append((passed.logits.clone(), torch.autograd.grad(passed.hidden.square().sum(), x)[0]))
        torch.testing.assert_close(results[0], results[1], atol=1e-4, rtol=1e-4)


def test_prefix_is_remembered_on_real_models(real_models):
    for name in ("stories260k", "onmt-lm"):
        assert LiveModel(load_live_model(str(real_models / name), name), name, [3, 4, 5]).prefix is not None
    assert live_of(tiny_llama()).prefix is None  # nothing before, nothing to remember


def test_a_model_that_goes_on_wrongly_from_a_prefix_is_run_in_full():
    model = tiny_llama()
    inner = model.model.forward

    def forgetful(*args, past_key_values=None, **more):
        return inner(*args, **more)  # as if no token had come before

    model.model.forward = forgetful
    live = live_of(model, before=[3, 5])
    assert live.prefix is None
    del model.model.forward
    want = model(torch.tensor([[3, 5, 4]])).logits[:, -1:]
    torch.testing.assert_close(live.run(live.rows[torch.tensor([[4]])], gradient=False).logits, want)


def test_asking_for_the_last_position_gives_just_that():
    live = live_of(tiny_llama())
    e = live.rows[torch.tensor([[4, 5], [6, 7]])]
    every, last = live.run(e, gradient=False).logits.clone(), live.run(e, gradient=False, last=True).logits
    assert last.shape == (2, 1, live.v)
    torch.testing.assert_close(last, every[:, -1:])
