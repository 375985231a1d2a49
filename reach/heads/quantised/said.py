"""What a config says about quantised weights. What is stored decides, but the config is known before it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reach.heads.config import ModelConfig

_ENTRIES = ("quantization_config", "compression_config", "quantization")
_HEAD = "lm_head"
MLX = "mlx"


@dataclass(frozen=True)
class Quantiser:
    """The entry of a config about quantised weights.

    Attributes:
        key: its place in the config.
        method: `quant_method` in small letters, or `mlx`, whose entries have none; empty where neither is said.
        entry: its settings.
    """

    key: str
    method: str
    entry: Mapping[str, Any]

    @property
    def words(self) -> str:
        """What it says, for messages."""
        named = self.entry.get("quant_method") or self.entry.get("mode") or "quantised"
        return f"{self.key} of its config.json says {named}"

    def group(self, module: str = _HEAD) -> Mapping[str, Any] | None:
        """The group of compressed-tensors that takes in a module, unless its `ignore` list keeps it out; or none."""
        groups = self.entry.get("config_groups")
        if not isinstance(groups, Mapping) or any(_means(line, module) for line in _lines(self.entry.get("ignore"))):
            return None
        for group in groups.values():
            weights = group.get("weights") if isinstance(group, Mapping) else None
            if weights and any(_means(line, module) for line in _lines(group.get("targets"))):
                return group
        return None


def quantiser(config: ModelConfig) -> Quantiser | None:
    """What the config says about quantised weights, or none."""
    for part in (config.whole, config.text):
        for key in _ENTRIES:
            entry = part.get(key)
            if isinstance(entry, Mapping):
                return Quantiser(key, _method(entry), entry)
    return None


def quantised_head(config: ModelConfig) -> str | None:
    """Why the config leaves no doubt that the output matrix is quantised, in words; none where it does not say so."""
    found = quantiser(config)
    if found is None:
        return None
    key, entry = found.key, found.entry
    method = str(entry.get("quant_method") or "")
    if entry.get("lm_head") is True or entry.get("quant_lm_head") is True:
        return f"{key} ({method or 'quantised'}) includes lm_head"
    extra = entry.get("extra_config")
    own = extra.get(_HEAD) if isinstance(extra, Mapping) else None
    bits = own.get("bits") if isinstance(own, Mapping) else entry.get("head_bits")
    if isinstance(bits, (int, float)) and not isinstance(bits, bool) and bits < 16:
        return f"{key} ({method or 'quantised'}) gives the head {bits:g} bits"
    if method == "compressed-tensors" and _compressed(found):
        return f"{key} (compressed-tensors) covers lm_head, which its ignore list leaves out"
    return None


def _method(entry: Mapping[str, Any]) -> str:
    said = entry.get("quant_method")
    if said:
        return str(said).lower().removeprefix("intel/")
    return MLX if "group_size" in entry and "bits" in entry else ""


def _compressed(found: Quantiser) -> bool:
    """Whether a group of compressed-tensors takes in the head, and the weights are stored compressed."""
    if found.entry.get("format") == "dense" or found.entry.get("quantization_status") not in (None, "compressed"):
        return False
    return found.group() is not None


def _lines(value: object) -> list[object]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _means(line: object, module: str) -> bool:
    """Whether a target means a module: by its name, by a pattern, or as one of the linear layers."""
    text = str(line)
    if not text.startswith("re:"):
        return text in (module, "Linear")
    try:
        return re.match(text.removeprefix("re:"), module) is not None
    except re.error:
        return True  # unreadable, so it may mean the module
