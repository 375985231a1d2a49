"""Small whole numbers packed into 32-bit words, one after the other from the lowest bit on."""

from __future__ import annotations

import torch
from jaxtyping import Int, Int32
from torch import Tensor

WORD = 32


def unpack(words: Int[Tensor, "n w"], bits: int, count: int) -> Int32[Tensor, "n count"]:
    """The first numbers of each row. A number may begin in one word and end in the next.

    Args:
        words: rows of 32-bit words.
        bits: of each number, 1 to 8.
        count: how many numbers a row holds; the words must be enough for them.
    """
    if WORD % bits == 0:
        shifts = torch.arange(0, WORD, bits, dtype=torch.int32)
        return ((words.unsqueeze(-1) >> shifts) & (2**bits - 1)).flatten(1)[:, :count]
    first = torch.arange(count) * bits
    # Two neighbouring words as one of 64 bits hold any number that begins in the first of them.
    long = words.to(torch.int64) & (2**WORD - 1)
    next_ = torch.cat([long[:, 1:], torch.zeros_like(long[:, :1])], dim=1)
    pairs = long | (next_ << WORD)
    return ((pairs[:, first // WORD] >> (first % WORD)) & (2**bits - 1)).to(torch.int32)


def words_for(count: int, bits: int) -> int:
    """How many words hold some numbers without a gap."""
    return -(-count * bits // WORD)
