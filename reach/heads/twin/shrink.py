"""Configs of the same class and the same settings, with small widths, few layers and few tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

TOKENS = 96
"""Rows of a twin's vocabulary."""
_MOST_LAYERS = 6
_MOST_PARTS = 4096
_EXPERTS, _CHOSEN, _POSITIONS = 4, 2, 64

Entries = dict[str, Any]

_LAYERS = re.compile(
    r"num_hidden_layers|n_layers?|num_layers|(encoder|decoder)_layers|num_(encoder|decoder)_layers|depth|n_blocks|"
    r"num_hidden_groups|(encoder|decoder)_num_hidden_layers|num_block_layers"
)
_HEADS = re.compile(
    r"n_heads?|num_heads|(\w+_)?num_attention_heads|(\w+_)?attention_heads|num_\w+_heads|\w+_n_heads|\w*num_\w*kv_heads|"
    r"n_kv_heads|multi_query_group_num|\w+_num_heads|attn_num_heads|num_query_groups"
)
_WIDTHS = re.compile(
    r"(\w+_)?hidden_size(_per_layer_input)?|d_model|n_embd|dim|emb(ed)?_dim|\w*embed_proj_dim|embedding_size|hidden_dim|"
    r"(word_)?embed(ding)?_size|model_dim|d_embed|lru_width|bottleneck_size|\w*embedding_dim|intra_bottleneck_size"
)
_INNER = re.compile(
    r"(\w+_)?intermediate_size(_\w+)?|(\w+_)?ffn_dim|n_inner|d_inner|d_ff|(\w+_)?ffn_hidden_size|ffn_size|mlp_dim|"
    r"feed_forward_\w+|dim_ff|expert_dim|\w*ffn_hidden_dim|mamba_d_ssm|mamba_intermediate"
)
_HEAD_DIMS = re.compile(r"(\w+_)?head_dim|d_kv|d_head|attention_head_size|head_size|kv_channels|(\w+_)?d_head")
_EXPERT_COUNTS = re.compile(r"n_routed_experts|(\w+_)?num_(local_|routed_)?experts|n_experts")
_CHOSEN_COUNTS = re.compile(r"num_experts_per_tok\w*|moe_topk|moe_k|top_k_experts|num_selected_experts|moe_top_?k")
_GROUPS = re.compile(r"n_group|topk_group|n_shared_experts")
_POSITION_COUNTS = re.compile(
    r"max_position_embeddings|n_positions|n_ctx|max_seq_len\w*|max_sequence_length|seq_length|max_target_positions"
)
_RANKS = re.compile(r"\w*lora_rank|\w+_rank|\w*lora_r")
_MIN_WIDTH = 16
TWICE = "in proportion, twice as wide"
"""For a second twin, of another width."""


@dataclass(frozen=True)
class Shrinking:
    """One way to make the numbers of a config small.

    Attributes:
        name: what it does, for messages.
        sizes: the new value of a width, count of heads and the like, by name and value; none leaves it.
        all_layers: keep as many layers as there are.
        all_tokens: keep the vocabulary as large as it is.
    """

    name: str
    sizes: Callable[[Entries], Callable[[str, int], int | None]]
    all_layers: bool = False
    all_tokens: bool = False


def shrunk(entries: Mapping[str, Any], only: str | None = None) -> Iterator[tuple[str, Entries]]:
    """Small configs, by the ways to make them, the likeliest to work first.

    Args:
        entries: those of a config, as its `to_dict` gives them.
        only: the one way that is wanted; none means all but the last.
    """
    for way in WAYS:
        if way.name == only or (only is None and way.name != TWICE):
            yield way.name, _small(dict(entries), way)


def immoderate(entries: Any, name: str = "") -> str | None:
    """A count of layers, heads or experts that no model has, in words, or none: it would never be built."""
    if isinstance(entries, Mapping):
        return next((found for key, part in entries.items() if (found := immoderate(part, str(key)))), None)
    if isinstance(entries, (list, tuple)):
        return next((found for part in entries if (found := immoderate(part, name))), None)
    counted = any(pattern.fullmatch(name) for pattern in (_LAYERS, _HEADS, _EXPERT_COUNTS))
    return f"{name} is {entries}" if counted and _is_count(entries) and entries > _MOST_PARTS else None


def with_few_layers(entries: Mapping[str, Any]) -> Entries:
    """The same config with few layers and experts, and everything else as large as it is."""
    return _small(dict(entries), Shrinking("layers alone", _as_they_are, all_tokens=True))


def _small(entries: Entries, way: Shrinking) -> Entries:
    if not way.all_layers:
        entries = _fewer_layers(entries)
    sizes = way.sizes(entries)
    return {name: _value(str(name), value, way, sizes) for name, value in entries.items()}


def _value(name: str, value: Any, way: Shrinking, sizes: Callable[[str, int], int | None]) -> Any:
    if isinstance(value, dict):
        return _small(value, way)
    if isinstance(value, (list, tuple)):
        return [_value(name, part, way, sizes) for part in value]
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if name.endswith(("token_id", "_token_index", "token_ids")):
        return value if value < 8 or way.all_tokens else 8 + value % (TOKENS // 4)
    if value < 1:
        return value
    if name == "num_kv_shared_layers" and not way.all_layers:
        return 0  # of few layers none is left to share with
    if name.endswith("vocab_size") or name in ("n_vocab", "n_tokens"):
        return value if way.all_tokens else min(value, TOKENS)
    for pattern, most in (
        (_EXPERT_COUNTS, _EXPERTS), (_CHOSEN_COUNTS, _CHOSEN), (_GROUPS, 1), (_POSITION_COUNTS, _POSITIONS),
    ):  # fmt: skip
        if pattern.fullmatch(name):
            return min(value, most)
    new = sizes(name, value)
    return value if new is None else new


def _fewer_layers(entries: Entries) -> Entries:
    """One layer of each kind, and at least two; what is listed by layer is cut to those."""
    counts = {name: value for name, value in entries.items() if _LAYERS.fullmatch(str(name)) and _is_count(value)}
    entries = dict(entries)
    for count in set(counts.values()):
        lists = [
            name
            for name, value in entries.items()
            if isinstance(value, (list, tuple)) and len(value) == count and count > 2
        ]
        kept = _of_each_kind([entries[name] for name in lists], count)
        for name in lists:
            entries[name] = [entries[name][at] for at in kept]
        for name, value in entries.items():
            if isinstance(value, dict) and value and all(str(key).isdigit() for key in value):
                entries[name] = {new: _at(value, old) for new, old in enumerate(kept) if _at(value, old) is not None}
        for name, value in counts.items():
            if value == count:
                entries[name] = len(kept)
    return entries


def _at(by_layer: Mapping[Any, Any], layer: int) -> Any:
    return by_layer.get(layer, by_layer.get(str(layer)))


def _of_each_kind(lists: list[Any], count: int) -> list[int]:
    seen: dict[str, int] = {}
    for at in range(count):
        seen.setdefault(repr([by_layer[at] for by_layer in lists]), at)
    kept = sorted(seen.values())[:_MOST_LAYERS]
    for at in range(count):
        if len(kept) < min(2, count) and at not in kept:
            kept = sorted([*kept, at])
    return kept


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _in_proportion(entries: Entries, times: int = 1) -> Callable[[str, int], int | None]:
    """Widths and heads divided by one number, heads as wide as they are: what adds up still does."""
    widths = [value for name, value in entries.items() if _WIDTHS.fullmatch(str(name)) and _is_count(value)]
    heads = [value for name, value in entries.items() if _HEADS.fullmatch(str(name)) and _is_count(value)]
    most = max(heads, default=1)
    by = next(
        (
            f
            for f in range(min(most, _MOST_PARTS), 1, -1)
            if all(w % f == 0 and w // f >= _MIN_WIDTH for w in widths) and most % f == 0
        ),
        1,
    )

    def size(name: str, value: int) -> int | None:
        if any(pattern.fullmatch(name) for pattern in (_WIDTHS, _HEADS, _INNER)):
            return times * max(1, value // by)
        return None

    return size


def _to_the_same(_: Entries) -> Callable[[str, int], int | None]:
    """All widths 32, four heads of eight."""

    def size(name: str, value: int) -> int | None:
        for pattern, most in ((_HEAD_DIMS, 8), (_HEADS, 4), (_INNER, 48), (_WIDTHS, 32), (_RANKS, 8)):
            if pattern.fullmatch(name):
                return min(value, most)
        return None

    return size


def _as_they_are(_: Entries) -> Callable[[str, int], int | None]:
    return lambda _name, _value: None


WAYS = (
    Shrinking("in proportion", _in_proportion),
    Shrinking("all to the same", _to_the_same),
    Shrinking("in proportion, with all layers", _in_proportion, all_layers=True),
    Shrinking("widths as they are", _as_they_are),
    Shrinking(TWICE, lambda entries: _in_proportion(entries, times=2)),
)
