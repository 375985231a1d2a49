"""The one way to transformers' loaders: what a model folder brings along is read, and never run.

A folder or a Hub repository may hold Python code of its own (`auto_map` in config.json or tokenizer_config.json).
Left to itself, transformers asks on the terminal whether to run it. Nothing here does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from solvers.errors import BadInput

_NO_SUCH_FOLDER = "no-adapter-is-wanted"


class NeedsOwnCode(BadInput):
    """A model or tokenizer that only its own Python code can load."""


def pretrained(kind: Any, source: str | Path, **options: Any) -> Any:
    """`kind.from_pretrained(source)` for a config or a tokenizer.

    Args:
        kind: a class of transformers.
        source: folder or Hub id.
        options: further arguments.

    Raises:
        NeedsOwnCode: it can only be loaded by code of its own.
        BadInput: it is a file, such as a bare head or GGUF.
        Exception: whatever else transformers raises.
    """
    if Path(source).is_file():
        raise BadInput("it is a single file, and a whole model can only be run from its folder or Hub id")
    try:
        return kind.from_pretrained(str(source), trust_remote_code=False, **options)
    except ValueError as error:
        raise _own_code(source, error) from None


def pretrained_model(kind: Any, source: str | Path, **options: Any) -> Any:
    """`kind.from_pretrained(source)` for a model, without an adapter that lies beside it.

    Raises:
        NeedsOwnCode: it can only be loaded by code of its own.
        Exception: whatever else transformers raises.
    """
    # With peft installed, transformers would find and apply one: it is made to look where there is none.
    return pretrained(kind, source, adapter_kwargs={"subfolder": _NO_SUCH_FOLDER}, **options)


def model_from_config(auto: Any, config: Any) -> Any:
    """A model of the class that a config means, with fresh random weights.

    Raises:
        NeedsOwnCode: it can only be built by code of its own.
        Exception: whatever else transformers raises.
    """
    try:
        return auto.from_config(config, trust_remote_code=False)
    except ValueError as error:
        raise _own_code(getattr(config, "_name_or_path", "") or "the model", error) from None


def _own_code(source: str | Path, error: ValueError) -> Exception:
    if "trust_remote_code" not in str(error):
        return error
    return NeedsOwnCode(
        f"{source} can only be loaded by Python code that it brings along (auto_map), which is never run"
    )
