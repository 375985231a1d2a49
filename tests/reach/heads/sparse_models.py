"""Models of hundreds of megabytes that take a moment to write: layers of zeros, which the disk does not keep."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch

V, D = 6000, 192
HEAD_BYTES = 4 * (V * D + D)
LAYER = (4096, 4096)
_BYTES = {"F32": 4, "BF16": 2}


def write_sparse(path: Path, tensors: Mapping[str, torch.Tensor | tuple[int, ...]], padding: int = 0) -> None:
    """A safetensors file of float32 tensors, and of shapes whose numbers are all zero.

    Args:
        path: the file.
        tensors: what is to be in it; a shape stands for zeros.
        padding: bytes of a remark that make its header long.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt", "remark": "x" * padding}}
    end = 0
    for name, tensor in tensors.items():
        shape = tuple(tensor.shape) if isinstance(tensor, torch.Tensor) else tensor
        start, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            if isinstance(tensor, torch.Tensor):
                out.write(tensor.numpy().tobytes())
            else:
                out.seek(4 * math.prod(tensor), 1)
        out.truncate(8 + len(text) + end)


def large_llama(folder: Path, *, tied: bool, shards: bool = True, layers: int = 4) -> Path:
    """A Llama of 64 MiB a layer, with the embedding first and the head last, as `save_pretrained` lays it out."""
    folder.mkdir(parents=True)
    random = torch.Generator().manual_seed(3)
    config = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": V, "hidden_size": D,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": tied,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    files: list[dict[str, torch.Tensor | tuple[int, ...]]] = [
        {"model.embed_tokens.weight": torch.randn(V, D, generator=random)},
        *({f"model.layers.{n}.mlp.up_proj.weight": LAYER} for n in range(layers)),
        {"model.norm.weight": torch.rand(D, generator=random) + 0.5},
    ]
    if not tied:
        files[-1]["lm_head.weight"] = torch.randn(V, D, generator=random)
    if not shards:
        write_sparse(folder / "model.safetensors", {name: part for file in files for name, part in file.items()})
        return folder
    names = [f"model-{n + 1:05}-of-{len(files):05}.safetensors" for n in range(len(files))]
    for name, file in zip(names, files, strict=True):
        write_sparse(folder / name, file)
    weight_map = {tensor: name for name, file in zip(names, files, strict=True) for tensor in file}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder
