"""The head of a GGUF file: what llama.cpp computes at its end, from the numbers that its stored types stand for."""

from __future__ import annotations

from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from reach.heads.gguf.architectures import LAYOUTS, REFUSED, GgufLayout, Part
from reach.heads.gguf.header import GgufHeader
from reach.heads.gguf.stored import GgufTensors
from reach.heads.head import Head
from reach.heads.norm_form import NormKind, factors, norm_kind
from reach.heads.overrides import HOW_BY_HAND, NONE, HeadOverrides, UnknownArchitecture
from reach.heads.tensor_names import some
from reach.vocabularies.gguf import gguf_tokens
from reach.vocabulary import Vocabulary, in_rows
from solvers.errors import BadInput

_NO_OVERRIDES = HeadOverrides()
_OUTPUT, _EMBEDDING, _NORM = "output.weight", "token_embd.weight", "output_norm.weight"
_BIAS, _SHIFT, _SCALE = "output.bias", "output_norm.bias", "output.scale"
_EPS: dict[NormKind, str] = {
    "layernorm": "attention.layer_norm_epsilon",
    "rmsnorm": "attention.layer_norm_rms_epsilon",
}
_CAP, _FACTOR, _POOLING = "final_logit_softcapping", "logit_scale", "pooling_type"
_KINDS = {
    "adapter": "an adapter: merge it into its model, and give that",
    "mmproj": "a projector of images or sound: give the language model that it belongs to",
    "imatrix": "a record of activations, not a model",
}
_BY_HAND = f"point at the head by hand with {HOW_BY_HAND}"


def load_gguf_head(file: Path, overrides: HeadOverrides = _NO_OVERRIDES) -> Head:
    """Read the head of a GGUF file, dequantised to float32 where its type is not a plain one.

    Args:
        file: the file, or a part of a model in several.
        overrides: tensor names and norm settings given by hand.

    Raises:
        BadInput: a file is damaged, or the model has no head, or one that nothing is known of.
        MissingExtra: the package gguf is not installed.
    """
    stored = GgufTensors(file)
    header = stored.header
    notes: list[str] = []
    layout = _layout(stored, overrides, notes)
    name, tie = _output(stored, layout, overrides)
    v, d = stored.matrix_shape(name)

    form = overrides.norm or layout.norm or _form_by_eps(header)
    norm = norm_kind(form)
    if norm is None and any(_given(one) for one in (overrides.gamma_tensor, overrides.beta_tensor)):
        raise BadInput("--gamma-tensor and --beta-tensor belong to a norm, but the head has none: say --norm too")
    tensors = {"weight": name}
    bias = _vector(stored, tensors, "bias", _bias(stored, layout, overrides), v)
    gamma = beta = None
    if norm is not None:
        gamma = _vector(stored, tensors, "gamma", _gamma(stored, layout, overrides), d)
        beta = _vector(stored, tensors, "beta", _beta(stored, layout, overrides), d)
    notes += _left_out(stored, tensors, overrides)
    return Head(
        bias=bias,
        norm=norm,
        gamma=factors(form, gamma),
        beta=beta,
        eps=None if norm is None else _eps(header, norm, overrides),
        model_id=str(file),
        file=file,
        architecture=header.architecture or "GGUF",
        tie=tie,
        dtype=stored.kind(name),
        tensors=tensors,
        logit_scale=_logit_scale(stored, layout, d),
        softcap=_softcap(header, layout),
        notes=tuple(notes),
        found_by=_found_by(header, overrides),
        vocabulary=_vocabulary(header, v),
        weight=stored.matrix(name),  # last, since it alone takes long
    )


def _layout(stored: GgufTensors, overrides: HeadOverrides, notes: list[str]) -> GgufLayout:
    """Where the head lies, by the architecture, else by what the file leaves no doubt about, else by hand."""
    header, where = stored.header, stored.where
    kind = header.text("general.type") or "model"
    if kind in _KINDS:
        raise BadInput(f"{where} is {_KINDS[kind]}")
    architecture = header.architecture
    if overrides.weight_tensor is None:
        if architecture in REFUSED:
            raise BadInput(f"{where}: {architecture} is {REFUSED[architecture]}")
        if not stored.names:
            raise BadInput(f"{where} holds no tensors, only a vocabulary: give the model itself")
    layout = LAYOUTS.get(architecture)
    pooling = header.count(f"{architecture}.{_POOLING}")
    if pooling:
        notes.append(
            f"{where}: the model is made for embeddings ({architecture}.{_POOLING} is {pooling}): its output matrix "
            "may never have been trained"
        )
    if layout is not None:
        return layout
    if overrides.weight_tensor is not None:
        if overrides.norm is None:
            raise UnknownArchitecture(
                f"{where}: unknown architecture {architecture}: say which norm comes last: {_BY_HAND}"
            )
        return GgufLayout(None, gamma=None)
    return _plain_layout(stored, notes)


def _found_by(header: GgufHeader, overrides: HeadOverrides) -> str:
    if overrides.given():
        return "by hand"
    return "table of llama.cpp's architectures" if header.architecture in LAYOUTS else "file"


def _plain_layout(stored: GgufTensors, notes: list[str]) -> GgufLayout:
    """The layout of an unknown architecture that says of itself all that is needed."""
    header, where, architecture = stored.header, stored.where, stored.header.architecture or "without a name"
    doubts = [f"it has no {name}" for name in (_OUTPUT, _NORM) if name not in stored]
    norms = [norm for norm, key in _EPS.items() if f"{architecture}.{key}" in header]
    if len(norms) != 1:
        doubts.append("it gives " + ("the eps of both norms" if norms else "no eps"))
    doubts += [f"it has {key}" for key in (_FACTOR, _CAP) if f"{architecture}.{key}" in header]
    doubts += [f"it stores {name}" for name in (_SCALE,) if name in stored]
    if doubts:
        raise UnknownArchitecture(f"{where}: unknown architecture {architecture}: {', '.join(doubts)}: {_BY_HAND}")
    notes.append(
        f"{where}: the architecture {architecture} is not known; its head was read as {norms[0]} and {_OUTPUT}, "
        "which is what its tensors and settings say"
    )
    return GgufLayout(norms[0], shift="optional", bias="optional")


def _output(stored: GgufTensors, layout: GgufLayout, overrides: HeadOverrides) -> tuple[str, str]:
    """The name of the output matrix, and how it relates to the input embedding."""
    if overrides.weight_tensor is not None:
        return overrides.weight_tensor, f"chosen by hand: {overrides.weight_tensor}"
    architecture, where = stored.header.architecture, stored.where
    if layout.output == (_EMBEDDING,) and _OUTPUT in stored:
        raise BadInput(
            f"{where}: {_OUTPUT} is stored, but llama.cpp's {architecture} multiplies by {_EMBEDDING}: choose one "
            "with --weight-tensor NAME"
        )
    name = next((one for one in layout.output if one in stored), None)
    if name is None:
        raise BadInput(f"{where} has no {' or '.join(layout.output)}: copy or download it again")
    if name == _EMBEDDING:
        return name, f"tied: no {_OUTPUT} is stored, so {_EMBEDDING} serves, as llama.cpp does it"
    return name, "untied: an output matrix of its own is stored"


def _bias(stored: GgufTensors, layout: GgufLayout, overrides: HeadOverrides) -> str | None:
    if overrides.bias_tensor is not None:
        return overrides.bias_tensor
    return None if overrides.weight_tensor is not None else _part(stored, _BIAS, layout.bias, "bias")


def _gamma(stored: GgufTensors, layout: GgufLayout, overrides: HeadOverrides) -> str | None:
    if overrides.gamma_tensor is not None:
        return overrides.gamma_tensor
    if stored.header.architecture not in LAYOUTS and overrides.weight_tensor is not None:
        raise UnknownArchitecture(
            f"{stored.where}: name the norm's factors with --gamma-tensor NAME (or --gamma-tensor none, if it has "
            "none)"
        )
    if layout.gamma is not None and layout.gamma not in stored:
        raise BadInput(
            f"{stored.where} has no {layout.gamma}: copy or download it again, or name the norm's factors with "
            "--gamma-tensor NAME"
        )
    return layout.gamma


def _beta(stored: GgufTensors, layout: GgufLayout, overrides: HeadOverrides) -> str | None:
    if overrides.beta_tensor is not None:
        return overrides.beta_tensor
    if overrides.weight_tensor is not None and stored.header.architecture not in LAYOUTS:
        return None
    return _part(stored, _SHIFT, layout.shift, "beta")


def _part(stored: GgufTensors, name: str, part: Part, role: str) -> str | None:
    """The name of a vector that is added, or none; refused where file and architecture contradict each other."""
    where, architecture, option = stored.where, stored.header.architecture, f"--{role}-tensor"
    if name in stored and part == "none":
        raise BadInput(
            f"{where}: {name} is stored, but llama.cpp's {architecture} adds none: say {option} {name}, or {option} "
            "none"
        )
    if name not in stored and part == "needed":
        raise BadInput(
            f"{where} has no {name}, which llama.cpp's {architecture} adds: copy or download it again, or say "
            f"{option} none"
        )
    return name if name in stored else None


def _vector(
    stored: GgufTensors, tensors: dict[str, str], role: str, name: str | None, length: int
) -> Float[Tensor, " n"] | None:
    if not _given(name):
        return None
    assert name is not None
    tensors[role] = name
    return stored.vector(name, length, tensors["weight"])


def _form_by_eps(header: GgufHeader) -> str:
    """The norm of an architecture that runs with either: llama.cpp goes by the eps that the file gives."""
    rms = header.number(f"{header.architecture}.{_EPS['rmsnorm']}")
    return "rmsnorm" if rms else "layernorm"


def _eps(header: GgufHeader, norm: NormKind, overrides: HeadOverrides) -> float:
    if overrides.eps is not None:
        return overrides.eps
    key = f"{header.architecture}.{_EPS[norm]}"
    eps = header.number(key)
    if eps is None:
        raise BadInput(f"{header.path} has no {key}: give the norm's eps with --eps")
    return eps


def _logit_scale(stored: GgufTensors, layout: GgufLayout, d: int) -> float:
    """The factor on the logits. It leaves the argmax alone, but a factor ≤ 0 would not."""
    header, key = stored.header, f"{stored.header.architecture}.{_FACTOR}"
    value = None
    if layout.scale in ("multiplies", "divides"):
        value = header.number(key)
        if value is None and layout.scale_needed:
            raise BadInput(f"{header.path} has no {key}, which llama.cpp needs: convert the model again")
    if value is None and layout.scale_default is not None:
        value = layout.scale_default(d)
    value = 1.0 if value is None else value
    own = 1.0
    if _SCALE in stored:
        own = float(stored.vector(_SCALE, 1, "one factor for all logits")[0])
    for name, one in ((key, value), (_SCALE, own)):
        if not one > 0:
            raise BadInput(f"{header.path}: {name} is {one:g}; only a factor > 0 keeps the order of the tokens")
    return own * (1 / value if layout.scale == "divides" else value)


def _softcap(header: GgufHeader, layout: GgufLayout) -> float | None:
    if not layout.capped:
        return None
    key = f"{header.architecture}.{_CAP}"
    value = header.number(key)
    if value is not None and value < 0:
        raise BadInput(f"{header.path}: {key} is {value:g}; a cap must be > 0")
    return layout.cap_default if value is None else value or None


def _left_out(stored: GgufTensors, tensors: dict[str, str], overrides: HeadOverrides) -> list[str]:
    """A line on tensors that look like parts of the head and were not read."""
    read = {*tensors.values(), _OUTPUT, _SCALE, "output.input_scale"}
    said = {_BIAS: overrides.bias_tensor, _SHIFT: overrides.beta_tensor, _NORM: overrides.gamma_tensor}
    rest = [
        name for name in stored.names if name.startswith("output") and name not in read and said.get(name) != NONE
    ]
    rest = [name for name in rest if not name.startswith("output_hc")]  # before the norm
    if not rest:
        return []
    return [
        f"{stored.where}: left out of the head, though named like parts of it: {some(rest)}; if llama.cpp uses them, "
        "every verdict is about another head"
    ]


def _vocabulary(header: GgufHeader, rows: int) -> Vocabulary:
    tokens = gguf_tokens(
        header.text("tokenizer.ggml.model"),
        header.text("tokenizer.ggml.pre"),
        header.strings("tokenizer.ggml.tokens"),
        header.integers("tokenizer.ggml.token_type"),
        str(header.path),
    )
    return in_rows(tokens, rows)


def _given(name: str | None) -> bool:
    return name is not None and name != NONE
