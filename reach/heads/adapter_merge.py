"""A plain LoRA merged into a head: W + s·B·A with a bound on its rounding, and whole tensors in the place of others.

Reference:
    Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang & Chen (2021), *LoRA: Low-Rank Adaptation of Large Language Models*,
    arXiv:2106.09685; with s = α/√r, Kalajdzievski (2023), arXiv:2312.03732.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from reach.heads.adapter import Adapter
from reach.heads.tensor_names import in_module, is_head_like, module_of, some
from solvers.errors import BadInput

_FORMS = {
    "A": ("lora_A.weight", "lora_A.default.weight"),
    "B": ("lora_B.weight", "lora_B.default.weight"),
    "weight": ("weight", "base_layer.weight", "modules_to_save.weight", "modules_to_save.default.weight"),
    "bias": ("bias", "base_layer.bias", "modules_to_save.bias", "modules_to_save.default.bias"),
}
"""What an adapter may hold for a module and can be merged, by the ends of the names."""

_FRESH_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Values of `init_lora_weights` that leave the model's own weights as they are; others subtract from them first."""

_OTHER_KINDS = ("alora_invocation_tokens", "lora_bias", "ensure_weight_tying", "arrow_config", "kasa_config",
                "monteclora_config", "velora_config")  # fmt: skip
"""Settings that make something else of a LoRA. So does every `use_…` but `use_rslora`."""


@dataclass(frozen=True)
class LowRank:
    """A change s·B·A of the output matrix.

    Attributes:
        path: the module in the model.
        scale: s.
        left: B.
        right: A.
    """

    path: str
    scale: float
    left: Float[Tensor, "v r"]
    right: Float[Tensor, "r d"]


@dataclass(frozen=True)
class MergedAdapter:
    """What an adapter does to a head.

    Attributes:
        low_rank: the change of the output matrix, or none.
        replaced: the parameters in the model that it puts others in the place of, and those.
        words: what was merged, for a person.
    """

    low_rank: LowRank | None
    replaced: Mapping[str, Float[Tensor, "..."]]
    words: str


class AdapterMerge:
    """Takes an adapter's tensors for the parts of a head, one part after the other.

    Raises:
        BadInput: the adapter is of another kind than a plain LoRA with whole tensors, or lies on a tied embedding.
    """

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._left_over = set(adapter.changes)
        self._low_rank: LowRank | None = None
        self._replaced: dict[str, Tensor] = {}
        parts = adapter.parts
        shared = [
            name
            for name in adapter.changes
            if any(in_module(adapter.path_of[name], module) for module in parts.embedding)
            or (not is_head_like(adapter.path_of[name]) and self._in(name, parts.weight))
        ]
        if shared:
            # A model that runs with it keeps the old matrix at its output; one that it was merged into does not.
            raise self._refused(
                f"it changes the input embedding that the output matrix is tied to ({some(shared)}), and whether the "
                "head follows depends on how it is merged"
            )
        self._check_kind()

    def low_rank(self, name: str, shape: tuple[int, ...]) -> LowRank | None:
        """The change of the output matrix of a shape, or none."""
        modules = self._adapter.parts.weight | {module_of(name)}
        right, left = self._take("A", modules), self._take("B", modules)
        if left is None and right is None:
            return None
        if left is None or right is None:
            raise self._refused(f"it holds only one half of a LoRA: {left or right}")
        path, other = self._module(right), self._module(left)
        b, a = self._adapter.tensors.matrix(left), self._adapter.tensors.matrix(right)
        if path != other or (b.shape[0], a.shape[1]) != shape or b.shape[1] != a.shape[0]:
            raise self._refused(
                f"{left} {tuple(b.shape)} and {right} {tuple(a.shape)} do not fit {name} {tuple(shape)}"
            )
        self._low_rank = LowRank(path, self._scale(path, a.shape[0]), b, a)
        return self._low_rank

    def replacement(self, kind: str, name: str | None, modules: frozenset[tuple[str, ...]]) -> str | None:
        """The adapter's tensor in the place of a parameter of some modules, or none.

        Args:
            kind: `weight` or `bias`.
            name: the parameter as the model stores it, or none if it has none there.
            modules: where it may lie.
        """
        found = self._take(kind, modules | ({module_of(name)} if name is not None else frozenset()))
        if found is not None and name is None:
            raise self._refused(f"it holds {found}, but the model has nothing there")
        return found

    def matrix(self, found: str, like: Float[Tensor, "v d"]) -> Float[Tensor, "v d"]:
        """A matrix of the adapter that takes the place of another."""
        matrix = self._adapter.tensors.matrix(found)
        if matrix.shape != like.shape:
            raise self._refused(f"{found} has shape {tuple(matrix.shape)}, the model's own {tuple(like.shape)}")
        self._replaced[self._parameter(found)] = matrix
        return matrix

    def vector(self, found: str, length: int, of: str) -> Float[Tensor, " n"]:
        """A vector of the adapter that takes the place of another."""
        vector = self._adapter.tensors.vector(found, length, of)
        self._replaced[self._parameter(found)] = vector
        return vector

    def finished(self) -> MergedAdapter:
        """What was merged.

        Raises:
            BadInput: something of the adapter on the head was not.
        """
        if self._left_over:
            raise self._refused(f"{some(sorted(self._left_over))} cannot be merged here")
        if not self._adapter.changes:
            raise self._refused(f"its {some(self._adapter.aims)} means the head, but it holds no tensors for it")
        words = [f"{path} replaced" for path in self._replaced]
        if self._low_rank is not None:
            rank, scale = self._low_rank.right.shape[0], self._low_rank.scale
            words.insert(0, f"a LoRA of rank {rank} and scale {scale:g} added to {self._low_rank.path}")
        return MergedAdapter(self._low_rank, dict(self._replaced), "adapter merged: " + ", ".join(words))

    # --- names ------------------------------------------------------------------------------------------------------

    def _in(self, name: str, modules: frozenset[tuple[str, ...]]) -> bool:
        return any(in_module(self._adapter.path_of[name], module) for module in modules)

    def _take(self, kind: str, modules: frozenset[tuple[str, ...]]) -> str | None:
        """The one tensor of a kind on some modules; it counts as merged from then on."""
        found = [
            name
            for name in self._adapter.changes
            if any(self._form(name, module) in _FORMS[kind] for module in modules)
        ]
        if len(found) > 1:
            raise self._refused(f"{some(found)} are for one and the same part of the head")
        self._left_over -= set(found)
        return found[0] if found else None

    def _form(self, name: str, module: tuple[str, ...]) -> str | None:
        """The end of a tensor's name after its module, or none if it lies elsewhere."""
        path = self._adapter.path_of[name]
        if not in_module(path, module):
            return None
        end = f".{module[-1]}."
        return f".{path}".rpartition(end)[2]

    def _module(self, name: str) -> str:
        """The path of the module that a tensor is for."""
        return re.split(r"\.(?:lora_[AB]|base_layer|modules_to_save)\.", self._adapter.path_of[name])[0]

    def _parameter(self, name: str) -> str:
        path, last = self._adapter.path_of[name], name.rpartition(".")[2]
        module = re.split(r"\.(?:base_layer|modules_to_save)\.", path)[0]
        return f"{module.removesuffix(f'.{last}')}.{last}"

    # --- settings ---------------------------------------------------------------------------------------------------

    def _check_kind(self) -> None:
        settings = self._adapter.config
        kind = settings.get("peft_type")
        if kind != "LORA":
            raise self._refused(f"it is of the kind {kind}, not LORA")
        if settings.get("init_lora_weights") not in _FRESH_STARTS:
            raise self._refused(f"init_lora_weights {settings['init_lora_weights']} changes the model's own weights")
        odd = [key for key in settings if key.startswith("use_") and key != "use_rslora"]
        set_ = [key for key in (*odd, *_OTHER_KINDS) if settings.get(key)]
        if set_:
            raise self._refused(f"{some(set_)} makes it another thing than a plain LoRA")

    def _scale(self, path: str, rank: int) -> float:
        settings = self._adapter.config
        said = self._of_pattern("rank_pattern", path, settings.get("r"))
        alpha = self._of_pattern("alpha_pattern", path, settings.get("lora_alpha"))
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
            raise self._refused(f"its lora_alpha for {path} is {alpha!r}, but must be a number")
        if said != rank:
            raise self._refused(f"its config gives {path} the rank {said!r}, but its tensors have rank {rank}")
        return alpha / math.sqrt(rank) if settings.get("use_rslora") else alpha / rank

    def _of_pattern(self, key: str, path: str, otherwise: object) -> object:
        """The value that a table of patterns gives a module: the first pattern that the end of its path fits."""
        table = self._adapter.config.get(key) or {}
        if not isinstance(table, Mapping):
            raise self._refused(f"its {key} is no table")
        for pattern, value in table.items():
            try:
                if re.match(rf"(?:.*\.)?(?:{pattern})$", path):
                    return value
            except re.error:
                raise self._refused(f"its {key} holds {pattern}, which is no pattern") from None
        return otherwise

    def _refused(self, why: str) -> BadInput:
        return BadInput(
            f"{self._adapter.place}: this adapter cannot be merged into the head here: {why}; merge it into the "
            f"model with the library that made it, or {self._adapter.or_else}"
        )
