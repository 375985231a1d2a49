"""Which tokenizer a model has."""

from __future__ import annotations

import pytest
from tiny_search import saved, tiny_gpt2, tiny_llama
from tokenizers import Tokenizer, models
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from reach.search.prompts import load_tokenizer


def tiny_neox():
    size = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    return GPTNeoXForCausalLM(GPTNeoXConfig(**size, num_attention_heads=2))


@pytest.mark.parametrize("make", [tiny_gpt2, tiny_llama, tiny_neox])
def test_a_model_without_tokenizer_files_has_no_tokenizer(make, tmp_path):
    """For some of these transformers makes one up that knows its special tokens and no text."""
    assert load_tokenizer(str(saved(make(), tmp_path / "model"))) is None


def test_a_tokenizer_of_few_pieces_is_one(tmp_path):
    folder = saved(tiny_gpt2(), tmp_path / "model")
    words = Tokenizer(models.WordLevel({"<end>": 0, "a": 1}, unk_token="a"))
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>").save_pretrained(folder)
    found = load_tokenizer(str(folder))
    assert found.decode([1]) == "a"
