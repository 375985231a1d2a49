"""A GPT-2 with 70 tokens, 8 dimensions and a tokenizer. A scan of its head finds tokens of every kind."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import GPT2Config, GPT2LMHeadModel

END = "<|end|>"
_MERGES = ("c a", "ca t", "t h", "th e", "Ġ the", "o n", "Ġ a", "i n", "Ġ s", "e r")


def save_tiny_model(folder: Path) -> Path:
    """Write the model's folder. One row of the head is left without a token, as in many a real model."""
    folder.mkdir(parents=True)
    tokens = _save_tokenizer(folder)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=tokens + 1, n_embd=8, n_layer=1, n_head=2, n_positions=32, initializer_range=0.5, bos_token_id=0,
        eos_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        shift = torch.zeros(8)
        shift[0] = 0.5
        model.transformer.ln_f.bias.copy_(shift)
        model.lm_head.weight.copy_(_rows(tokens + 1))
    model.save_pretrained(folder)
    return folder


def _rows(v: int) -> torch.Tensor:
    """Random rows; some of them mixes of others, some short, two of them equal."""
    rows = torch.randn(v, 8)
    rows[10:14] *= 0.3
    rows[20] = (rows[1] + rows[2]) / 2
    rows[21] = (rows[3] + 2 * rows[4] + rows[5]) / 4
    rows[22] = (rows[6] + rows[7] + rows[8]) / 3
    rows[24] = rows[23]
    return rows


def _save_tokenizer(folder: Path) -> int:
    marks = string.ascii_letters + 'Ġ.,:?"'
    pieces = [END, *marks, *(merge.replace(" ", "") for merge in _MERGES)]
    vocabulary = {piece: at for at, piece in enumerate(pieces)}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[tuple(merge.split()) for merge in _MERGES]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END])
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(about), encoding="utf-8")
    return len(pieces)
