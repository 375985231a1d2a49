"""A head without a model: a file with W, and optionally b, gamma and beta."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from reach.heads.arrays import as_tensor, read_npy, read_npz
from reach.heads.domain import parse_domain
from reach.heads.head import Head
from reach.heads.norm_form import factors, norm_kind
from reach.heads.overrides import NONE, NORM_FORMS, HeadOverrides
from reach.heads.weights import FLOAT_DTYPES, check_finite
from solvers.errors import BadInput

DEFAULT_EPS = 1e-5
"""The norm's eps where a bare file leaves it out. Any eps > 0 gives the same domain."""

_TENSORS = ("W", "b", "gamma", "beta")
_SETTINGS = ("norm", "eps")
_NO_OVERRIDES = HeadOverrides()


def load_bare_head(file: Path, domain: str | None = None, *, overrides: HeadOverrides = _NO_OVERRIDES) -> Head:
    """Read a head from a `.npz` or `.safetensors` file.

    The file holds `W` (v, d), and may hold `b` (v,), `gamma` (d,), `beta` (d,), and the settings `norm` (one of
    layernorm, rmsnorm, rmsnorm+1, none) and `eps`: further arrays in a `.npz`, metadata in a `.safetensors`. Without
    `norm`, gamma with beta means a LayerNorm, and gamma alone an RMSNorm.

    Args:
        file: the file.
        domain: what z ranges over, see `parse_domain`. Without a norm it must be given, and not as `norm`.
        overrides: its `norm` and `eps` win over the file's. Tensor names cannot be overridden here.

    Raises:
        BadInput: the file is damaged, an entry is unknown, missing or of the wrong shape, or the domain is missing.
    """
    for name in ("weight", "bias", "gamma", "beta"):
        if getattr(overrides, f"{name}_tensor") is not None:
            raise BadInput(f"--{name}-tensor is for model folders; {file} must name its arrays {', '.join(_TENSORS)}")
    tensors, settings = _read(file)
    weight = tensors.get("W")
    if weight is None:
        raise BadInput(f"{file} has no W: store the output matrix (v, d) under that name")
    if weight.ndim != 2:
        raise BadInput(f"{file}: W has shape {tuple(weight.shape)}, but must be a matrix (v, d)")
    v, d = weight.shape
    if "b" in tensors and tuple(tensors["b"].shape) == (1, v):
        tensors["b"] = tensors["b"][0]  # a bias that a model adds to a batch of logits
    for name, length in (("b", v), ("gamma", d), ("beta", d)):
        if name in tensors and tuple(tensors[name].shape) != (length,):
            raise BadInput(f"{file}: {name} has shape {tuple(tensors[name].shape)}, but W asks for ({length},)")
    for name, tensor in tensors.items():
        check_finite(tensor, f"{file}: {name}", "rows" if name == "W" else "entries")

    form = _form(file, settings.get("norm"), overrides.norm, tensors)
    norm = norm_kind(form)
    head = Head(
        weight=weight,
        bias=tensors.get("b"),
        norm=norm,
        gamma=factors(form, tensors.get("gamma")),
        beta=tensors.get("beta"),
        eps=_eps(file, settings.get("eps"), overrides.eps) if norm else None,
        model_id=str(file),
        architecture="bare head",
        tie="untied: a bare head has no input embedding",
        dtype=str(weight.dtype).removeprefix("torch."),
        tensors={{"W": "weight", "b": "bias"}.get(name, name): name for name in tensors},
    )
    chosen = None if domain is None else parse_domain(domain, d)
    if chosen is None or chosen == "norm":
        if norm is None:
            raise BadInput(f"{file} has no norm, so say what z ranges over: --domain free, ball:R or box:LO,HI")
        return head
    return head.with_domain(chosen)


def _form(file: Path, in_file: str | None, by_hand: str | None, tensors: dict[str, Tensor]) -> str:
    """Which norm the file means: what the user says, else what the file says, else by what it holds."""
    form = by_hand or in_file
    if form is not None:
        if form not in NORM_FORMS:
            raise BadInput(f"{file}: norm is {form!r}: choose one of {', '.join(NORM_FORMS)}")
        if form == NONE and ("gamma" in tensors or "beta" in tensors):
            raise BadInput(f"{file} holds gamma or beta, which belong to a norm, yet norm is none: drop one of them")
        return form
    if "gamma" in tensors:
        return "layernorm" if "beta" in tensors else "rmsnorm"
    if "beta" in tensors:
        raise BadInput(f"{file} holds beta without gamma: say which norm it belongs to with --norm")
    return NONE


def _eps(file: Path, in_file: str | None, by_hand: float | None) -> float:
    if by_hand is not None:
        return by_hand
    if in_file is None:
        return DEFAULT_EPS
    try:
        return float(in_file)
    except ValueError:
        raise BadInput(f"{file}: eps is {in_file!r}, but must be a number") from None


def _read(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and settings of a file, with every unknown entry refused."""
    if file.suffix == ".npz":
        return _read_npz(file)
    if file.suffix == ".npy":
        return {"W": as_tensor(file, "W", read_npy(file))}, {}
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    raise BadInput(
        f"{file}: a bare head is a .npz or .safetensors file, or a .npy of W alone; a model is given by its folder"
    )


def _read_npz(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    arrays = read_npz(file, lambda names: _check_names(file, names, _TENSORS + _SETTINGS))
    settings = {name: str(array) for name, array in arrays.items() if name in _SETTINGS}
    return {name: as_tensor(file, name, array) for name, array in arrays.items() if name not in settings}, settings


def _read_safetensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(file, framework="pt") as handle:
            _check_names(file, list(handle.keys()), _TENSORS)
            for name in handle.keys():  # noqa: SIM118 (the handle is no mapping)
                dtype = handle.get_slice(name).get_dtype()
                if dtype not in FLOAT_DTYPES:
                    raise BadInput(
                        f"{file}: {name} is stored as {dtype}; use one of {', '.join(FLOAT_DTYPES.values())}"
                    )
            metadata = handle.metadata() or {}
            # Writers add metadata of their own, so only the two known entries are looked at.
            settings = {name: str(metadata[name]) for name in _SETTINGS if name in metadata}
            return {name: handle.get_tensor(name) for name in handle.keys()}, settings  # noqa: SIM118
    except SafetensorError as error:
        raise BadInput(f"{file} is truncated or damaged ({error}): write it again") from None
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror or error}") from None


def _check_names(file: Path, names: list[str], known: tuple[str, ...]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        shown = ", ".join(unknown[:4]) + (f" and {len(unknown) - 4} more" if len(unknown) > 4 else "")
        raise BadInput(
            f"{file} holds {shown}, but a bare head has only {', '.join(known)}; a model is given by its folder"
        )
