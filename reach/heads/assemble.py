"""From a config and stored tensors to a head."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from reach.heads.adapter import AdapterVerdict
from reach.heads.adapter_merge import AdapterMerge
from reach.heads.config import ModelConfig
from reach.heads.head import Head
from reach.heads.layout import HeadLayout
from reach.heads.left_out import left_out
from reach.heads.norm_form import NormKind, factors, norm_kind
from reach.heads.overrides import NONE, HeadOverrides
from reach.heads.projection import add_low_rank, fold_projection
from reach.heads.quantised.mlx import refuse_shifted_norm
from reach.heads.tensor_names import module_of
from reach.heads.tying import OutputMatrix, named_matrix, output_matrix, require_plain, the_one_stored
from reach.heads.weights import StoredTensors
from solvers.errors import BadInput


def assemble(
    model_id: str,
    config: ModelConfig,
    layout: HeadLayout,
    stored: StoredTensors,
    overrides: HeadOverrides,
    adapter: AdapterVerdict,
) -> Head:
    """Read the tensors of a head and check that they fit together.

    Args:
        model_id: the model as the user named it.
        config: its settings.
        layout: where its head lies.
        stored: its tensors.
        overrides: what the user says by hand; wins over the layout.
        adapter: what was decided about an adapter beside it.

    Raises:
        BadInput: a tensor or setting is missing or wrong, or other tensors change what the head's own mean.
    """
    parts = _Parts(stored, layout, overrides, None if adapter.merge is None else AdapterMerge(adapter.merge))
    found = _output(config, layout, stored, overrides)
    matrix = parts.output(found)
    weight, weight_error, source = parts.rows(found.name, matrix)
    v, d = weight.shape

    norm, gamma, beta = _norm(config, parts, d)
    bias = parts.vector("bias", overrides.bias_tensor, layout.bias, v)
    merged = None if parts.merge is None else parts.merge.finished()

    return Head(
        weight=weight,
        bias=bias,
        norm=norm,
        gamma=gamma,
        beta=beta,
        eps=None if norm is None else _eps(config, layout, overrides),
        model_id=model_id,
        architecture=config.architecture,
        tie=found.tie if merged is None else f"{found.tie}; {merged.words}",
        dtype=str(matrix.dtype).removeprefix("torch."),
        tensors=parts.tensors,
        weight_error=weight_error,
        source=source,
        logit_scale=_logit_scale(config, layout, d),
        softcap=config.number("final_logit_softcapping") if layout.learnt is None else layout.learnt.softcap,
        merged=merged,
        found_by="by hand" if overrides.given() else layout.found_by,
        notes=(
            *_own_code(config),
            *found.notes,
            *([layout.learnt.note] if layout.learnt and layout.learnt.note and norm is None else []),
            *adapter.notes,
            *left_out(stored, layout, overrides, parts.tensors, norm is not None),
        ),
    )


def _norm(
    config: ModelConfig, parts: _Parts, d: int
) -> tuple[NormKind | None, Float[Tensor, " d"] | None, Float[Tensor, " d"] | None]:
    """The final norm: its kind, γ and β."""
    layout, overrides = parts.layout, parts.overrides
    form = overrides.norm or layout.norm
    if overrides.norm is None:
        refuse_shifted_norm(config, form)
    norm = norm_kind(form)
    if norm is None:
        if _given(overrides.gamma_tensor) or _given(overrides.beta_tensor):
            raise BadInput("--gamma-tensor and --beta-tensor belong to a norm, but the head has none: say --norm too")
        return None, None, None
    gamma = parts.vector("gamma", overrides.gamma_tensor, layout.gamma, d)
    beta = parts.vector("beta", overrides.beta_tensor, layout.beta, d)
    return norm, factors(form, gamma), beta


def _output(config: ModelConfig, layout: HeadLayout, stored: StoredTensors, overrides: HeadOverrides) -> OutputMatrix:
    """The output matrix as it is stored."""
    if overrides.weight_tensor is not None:
        return named_matrix(stored, config, overrides.weight_tensor)
    found = output_matrix(stored, layout, config)
    _check_rows(found.name, found.matrix.shape[0], config, layout)
    return found


@dataclass
class _Parts:
    """The tensors of a head, read one after the other.

    Attributes:
        stored: the model's tensors.
        layout: where they lie.
        overrides: what the user says by hand.
        merge: the adapter to be merged, or none.
        tensors: role of each tensor read so far to its name.
    """

    stored: StoredTensors
    layout: HeadLayout
    overrides: HeadOverrides
    merge: AdapterMerge | None
    tensors: dict[str, str] = field(default_factory=dict)

    def output(self, stored: OutputMatrix) -> Float[Tensor, "v d"]:
        """The output matrix, or what an adapter puts in its place."""
        self.tensors |= {"weight": stored.name, **stored.others}
        if self.merge is None:
            return stored.matrix
        found = self.merge.replacement("weight", stored.name, self._modules(self.layout.output))
        return stored.matrix if found is None else self.merge.matrix(found, stored.matrix)

    def rows(
        self, name: str, matrix: Float[Tensor, "v k"]
    ) -> tuple[Float[Tensor, "v d"], Float64[Tensor, " v"] | None, Float[Tensor, "v n"] | None]:
        """The rows of the head: the matrix, with what an adapter adds to it, or what a projection makes of it.

        Returns:
            The rows; a bound on their rounding and the stored rows they come from, where they had to be computed.
        """
        change = None if self.merge is None else self.merge.low_rank(name, tuple(matrix.shape))
        if change is not None:
            if self.layout.projection:
                raise BadInput(
                    f"{self.stored.where}: a LoRA on a head with a projection ({', '.join(self.layout.projection)}) "
                    "cannot be merged here: merge it into the model with the library that made it, or say --adapter "
                    "ignore"
                )
            rows, error = add_low_rank(matrix, change.scale, change.left, change.right)
            joint = torch.promote_types(matrix.dtype, change.left.dtype)
            return rows, error, torch.cat([matrix.to(joint), change.left.to(joint)], dim=1)
        if not self.layout.projection:
            return matrix, None, None
        self.tensors["projection"] = self._required(self.layout.projection, "projection")
        projection = self.stored.matrix(self.tensors["projection"])
        if projection.shape[0] != matrix.shape[1]:
            raise BadInput(
                f"{self.stored.where}: {self.tensors['projection']} has {projection.shape[0]} rows, but {name} has "
                f"{matrix.shape[1]} columns: the files do not belong together"
            )
        return *fold_projection(matrix, projection), matrix

    def vector(
        self, role: str, by_hand: str | None, candidates: tuple[str, ...], length: int
    ) -> Float[Tensor, " n"] | None:
        """One vector of the head, or what an adapter puts in its place; none where the head has none."""
        name = None
        if by_hand != NONE and (by_hand is not None or candidates):
            name = by_hand if by_hand is not None else self._required(candidates, role)
            self.tensors[role] = name
        of = self.tensors["weight"]
        if self.merge is not None:
            modules = self._modules(candidates)
            if role == "bias":
                modules |= self._modules((*self.layout.output, of))
            found = self.merge.replacement("weight" if role == "gamma" else "bias", name, modules)
            if found is not None:
                return self.merge.vector(found, length, of)
        return None if name is None else self.stored.vector(name, length, of)

    @staticmethod
    def _modules(names: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
        return frozenset(module_of(name) for name in names) - {()}

    def _required(self, candidates: tuple[str, ...], role: str) -> str:
        name = the_one_stored(self.stored, candidates)
        if name is None:
            looked = f"{self.stored.where} has no {role} of the head (looked for {', '.join(candidates)})"
            if role == "projection":
                raise BadInput(f"{looked}: copy or download the model again")
            raise BadInput(f"{looked}: name it with --{role}-tensor NAME, or none if the head has none")
        known = () if self.layout.learnt is None else self.layout.learnt.beside
        by_hand = "" if role == "projection" else f", or name another with --{role}-tensor"
        require_plain(self.stored, name, by_hand, known=known)
        return name


def _check_rows(name: str, rows: int, config: ModelConfig, layout: HeadLayout) -> None:
    learnt = None if layout.learnt is None else layout.learnt.rows
    vocab_size = learnt or config.count("vocab_size") or layout.vocab_default
    if vocab_size is None:
        raise BadInput(f"{config.path} has no vocab_size: add it, or choose the head with --weight-tensor {name}")
    if rows != vocab_size:
        raise BadInput(
            f"{name} has {rows} rows, but {config.path} says vocab_size {vocab_size}: mend the config, or choose the "
            f"head with --weight-tensor {name}"
        )


def _eps(config: ModelConfig, layout: HeadLayout, overrides: HeadOverrides) -> float:
    if overrides.eps is not None:
        return overrides.eps
    for key in layout.eps_keys:
        value = config.number(key)
        if value is not None:
            return value
    if layout.eps_default is None:
        raise BadInput(f"{config.path} has no eps of the final norm (looked for {', '.join(layout.eps_keys)}): --eps")
    return layout.eps_default


def _logit_scale(config: ModelConfig, layout: HeadLayout, d: int) -> float:
    """The factor on the logits: some models multiply by `logit_scale`, some divide by `logits_scaling`."""
    if layout.learnt is not None:
        return float(layout.learnt.factor * d**layout.learnt.power)
    factor, divisor = config.number("logit_scale"), config.number("logits_scaling")
    if divisor == 0:
        raise BadInput(f"{config.path}: logits_scaling is 0, by which no logit can be divided")
    return (1.0 if factor is None else factor) / (1.0 if divisor is None else divisor)


def _own_code(config: ModelConfig) -> list[str]:
    if not config.own_code:
        return []
    return [
        f"{config.path}: the model brings Python code of its own (auto_map), which is never run: whether that code "
        "does something else with the head is not known"
    ]


def _given(name: str | None) -> bool:
    return name is not None and name != NONE
