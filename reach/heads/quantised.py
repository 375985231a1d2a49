"""What a config says about quantised weights. What is stored decides, but the config is known before it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from reach.heads.config import ModelConfig

_ENTRIES = ("quantization_config", "compression_config", "quantization")
_HEAD = "lm_head"


def quantiser(config: ModelConfig) -> str | None:
    """Which method the config says the model was quantised by, in words, or none."""
    found = _entry(config)
    if found is None:
        return None
    key, entry = found
    return f"{key} of its config.json says {entry.get('quant_method') or entry.get('mode') or 'quantised'}"


def quantised_head(config: ModelConfig) -> str | None:
    """Why the config leaves no doubt that the output matrix is quantised, in words; none where it does not say so."""
    found = _entry(config)
    if found is None:
        return None
    key, entry = found
    method = str(entry.get("quant_method") or "")
    if entry.get("lm_head") is True or entry.get("quant_lm_head") is True:
        return f"{key} ({method or 'quantised'}) includes lm_head"
    extra = entry.get("extra_config")
    own = extra.get(_HEAD) if isinstance(extra, Mapping) else None
    bits = own.get("bits") if isinstance(own, Mapping) else entry.get("head_bits")
    if isinstance(bits, (int, float)) and not isinstance(bits, bool) and bits < 16:
        return f"{key} ({method or 'quantised'}) gives the head {bits:g} bits"
    if method == "compressed-tensors" and _compressed(entry):
        return f"{key} (compressed-tensors) covers lm_head, which its ignore list leaves out"
    return None


def _entry(config: ModelConfig) -> tuple[str, Mapping[str, Any]] | None:
    for part in (config.whole, config.text):
        for key in _ENTRIES:
            value = part.get(key)
            if isinstance(value, Mapping):
                return key, value
    return None


def _compressed(entry: Mapping[str, Any]) -> bool:
    """Whether a group of compressed-tensors takes in the head, and no line of its `ignore` list keeps it out."""
    groups, ignore = entry.get("config_groups"), entry.get("ignore")
    if not isinstance(groups, Mapping) or entry.get("format") == "dense":
        return False
    if entry.get("quantization_status") not in (None, "compressed"):
        return False
    if any(_means_head(line) for line in ignore or ()):
        return False
    return any(
        isinstance(group, Mapping)
        and group.get("weights")
        and any(_means_head(line) for line in group.get("targets") or ())
        for group in groups.values()
    )


def _means_head(line: object) -> bool:
    """Whether a target means the head: by its name, by a pattern, or as one of the linear layers."""
    text = str(line)
    if not text.startswith("re:"):
        return text in (_HEAD, "Linear")
    try:
        return re.match(text.removeprefix("re:"), _HEAD) is not None
    except re.error:
        return True  # unreadable, so it may mean the head
