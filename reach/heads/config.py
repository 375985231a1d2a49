"""A model's config.json, as far as the head needs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reach.bounded import MOST_JSON, is_there, read_json
from solvers.errors import BadInput


@dataclass(frozen=True)
class ModelConfig:
    """The settings of one model; those of the text part win in a model of several parts.

    Attributes:
        path: the file, for messages.
        whole: everything in the file.
        text: the part about the language model (`text_config` where there is one).
    """

    path: Path
    whole: dict[str, Any]
    text: dict[str, Any]

    @property
    def model_type(self) -> str:
        """The `model_type` entry, or an empty string."""
        return str(self.whole.get("model_type") or "")

    @property
    def class_name(self) -> str | None:
        """The class that the files are of, the first of `architectures`; none where the config names none."""
        names = self.whole.get("architectures")
        return str(names[0]) if isinstance(names, list) and names else None

    @property
    def architecture(self) -> str:
        """The class that the files are of, else the model type."""
        return self.class_name or self.model_type

    @property
    def says_tied(self) -> bool | None:
        """Whether output matrix and input embedding are one; none where the config leaves it to the class.

        Where the parts of a model of several parts contradict each other, it is false: then they are not known to be.

        Raises:
            BadInput: the entry is neither true nor false.
        """
        said = [part.get("tie_word_embeddings") for part in (self.text, self.whole)]
        for value in said:
            if value is not None and not isinstance(value, bool):
                raise BadInput(f"{self.path}: tie_word_embeddings is {value!r}, but must be true or false")
        given = [value for value in said if value is not None]
        return all(given) if given else None

    @property
    def own_code(self) -> bool:
        """Whether the model comes with Python code of its own for its layers."""
        classes = self.whole.get("auto_map")
        return isinstance(classes, dict) and any(str(name).startswith("AutoModel") for name in classes)

    def get(self, key: str) -> Any:
        """An entry of the text part, else of the whole; none where it is absent."""
        value = self.text.get(key)
        return self.whole.get(key) if value is None else value

    def number(self, key: str) -> float | None:
        """A numeric entry.

        Raises:
            BadInput: the entry is something else.
        """
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise BadInput(f"{self.path}: {key} is {value!r}, but must be a number")
        return float(value)

    def count(self, key: str) -> int | None:
        """An entry that must be a whole number > 0.

        Raises:
            BadInput: the entry is something else.
        """
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise BadInput(f"{self.path}: {key} is {value!r}, but must be a whole number > 0")
        return value


def read_config(path: Path) -> ModelConfig:
    """Read a config.json.

    Raises:
        BadInput: the file is missing, unreadable, or holds no JSON object.
    """
    if not is_there(path):
        raise BadInput(f"{path} is missing: give a model folder that holds config.json")
    whole = model_json(path)
    if not isinstance(whole, dict):
        raise BadInput(f"{path} holds no JSON object: copy or download it again")
    text = whole.get("text_config")
    return ModelConfig(path, whole, text if isinstance(text, dict) else whole)


def model_json(path: Path, *, again: str = "copy or download it again", most: int = MOST_JSON) -> Any:
    """The content of a JSON file of a model.

    Raises:
        BadInput: it is no regular file, larger than `most` bytes, or no JSON that a model would have.
    """
    try:
        return read_json(path, again=again, most=most)
    except BadInput as error:
        reason = str(error).removeprefix(f"{path}: ").removesuffix(f"; {again}")
        raise BadInput(f"{path} is unreadable ({reason}): {again}") from None
