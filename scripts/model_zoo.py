"""Every class of the installed transformers: is its head read by path alone, and is it the live model's own?

A tiny random model of each class is saved, its folder read as any other, and the head's logits compared with the live
model's in float64, on states of many sizes that are put in place of what its last norm is given. The table goes to
docs/models.md.
"""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from reach.heads.head import Head
from reach.heads.load import load_head
from reach.heads.twin.build import leaving_out_layers, randomise
from reach.heads.twin.shrink import shrunk
from solvers.errors import BadInput

TASKS = {
    "causal": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "seq2seq": "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "masked": "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    "image-text": "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
}
NEEDED: dict[str, dict[str, Any]] = {
    "ReformerModelWithLMHead": {"is_decoder": True},
    "XmodForCausalLM": {"default_language": "en_XX"},
    "XmodForMaskedLM": {"default_language": "en_XX"},
    "DbrxForCausalLM": {"attn_config": {"rope_theta": 1e4, "kv_n_heads": 8, "clip_qkv": 8}},
    "Dots1ForCausalLM": {
        "n_routed_experts": 8,
        "n_group": 1,
        "topk_group": 1,
        "num_experts_per_tok": 2,
        "n_shared_experts": 1,
    },
    "HunYuanDenseV1ForCausalLM": {"head_dim": 128},
    "HunYuanMoEV1ForCausalLM": {"head_dim": 128},
    "HunYuanVLForConditionalGeneration": {"text_config": {"head_dim": 128}},
    "Lfm2MoeForCausalLM": {"layer_types": ["conv", "full_attention"] * 16},
    "MinistralForCausalLM": {"head_dim": 128},
    "NemotronForCausalLM": {"head_dim": 128, "num_key_value_heads": 8},
    "EsmForMaskedLM": {"vocab_size": 33, "pad_token_id": 1, "mask_token_id": 32},
}
"""What a config must say, and does not by default, before its class can be built at all."""
_ROOM = 2e-5
"""Deviation allowed, relative to the largest logit: many norms compute in float32 in any model."""
_SIZES = (1e-4, 1.0, 1e4)
_BELOW = "\n---\n"


@dataclass(frozen=True)
class Outcome:
    """What came of one class.

    Attributes:
        task, name: which class.
        result: `right`, `wrong`, `refused`, or `not built`: then there is nothing to read.
        words: how the head was found and what it is, or the reason.
    """

    task: str
    name: str
    result: str
    words: str


def classes(task: str) -> tuple[str, ...]:
    """The names of the classes of one task in the installed transformers, each once."""
    from transformers.models.auto import modeling_auto

    found = getattr(modeling_auto, TASKS[task]).values()
    return tuple(dict.fromkeys(name[0] if isinstance(name, tuple) else name for name in found))


def look_at(task: str, name: str) -> Outcome:
    """Build a tiny random model of a class, read its head by path, and compare the two."""
    import transformers

    with tempfile.TemporaryDirectory() as place, _quietly():
        try:
            model = tiny_model(getattr(transformers, name))
        except Exception as error:  # a class of transformers may raise anything
            return Outcome(task, name, "not built", _short(error))
        model.save_pretrained(place)
        try:
            head = load_head(place)
        except BadInput as error:
            return Outcome(task, name, "refused", str(error).removeprefix(f"{place}/config.json: "))
        try:
            fault = difference(runnable(model), head)
        except Exception as error:  # it was read, and cannot be compared
            return Outcome(task, name, "not run", _short(error))
    if fault is not None:
        return Outcome(task, name, "wrong", fault)
    norm = "no norm" if head.norm is None else f"{head.norm}, eps {head.eps:g}"
    parts = {"bias": head.bias, "cap": head.softcap, "projection": head.source}
    extra = [word for word, part in parts.items() if part is not None]
    scale = [] if head.logit_scale == 1 else [f"logits times {head.logit_scale:.4g}"]
    return Outcome(task, name, "right", "; ".join([_how(head), head.domain.describe(), norm, *extra, *scale]))


def _how(head: Head) -> str:
    return "twin" if head.found_by.startswith("tiny ") else head.found_by


def tiny_model(kind: Any) -> Any:
    """A small random model of a class, from its default settings.

    Raises:
        Exception: whatever transformers raises where its own defaults make no model.
    """
    entries = kind.config_class(**NEEDED.get(kind.__name__, {})).to_dict()
    reason: Exception | None = None
    for _, small in shrunk(entries):
        try:
            config = kind.config_class.from_dict(small)
            config._experts_implementation = config._attn_implementation = "eager"
            with torch.device("meta"):
                if sum(parameter.numel() for parameter in kind(config).parameters()) > 8e7:
                    raise ValueError("its smallest model is too large")
            torch.manual_seed(1)
            model = kind(config).eval()
            randomise(model, 5)
        except Exception as error:  # the next way may work
            reason = reason or error
        else:
            return model
    assert reason is not None
    raise reason


def runnable(model: Any) -> Any:
    """The model in float64, or in float32 where it runs in no other; its layers left out if they do not run."""
    for dtype in (torch.float64, torch.float32):
        model.to(dtype)
        with contextlib.suppress(Exception):  # a class of transformers may raise anything
            run(model)
            return model
    for _ in leaving_out_layers(model):
        with contextlib.suppress(Exception):
            run(model)
            return model
    run(model)
    return model


def run(model: Any) -> Tensor:
    """The logits of a model for a few tokens."""
    rows = len(model.get_input_embeddings().weight)
    ids = torch.arange(rows // 2, rows // 2 + 9)[None]
    inputs = {"input_ids": ids, "use_cache": False}
    if getattr(model.config, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = ids
    with torch.no_grad():
        try:
            return model(**inputs).logits
        except TypeError:
            del inputs["use_cache"]
            return model(**inputs).logits


def difference(model: Any, head: Head) -> str | None:
    """How the head's logits differ from the model's for states given to its last norm; None if they agree."""
    matrix = model.get_output_embeddings()
    at = matrix if head.norm is None else _last_norm(model)
    for states in _states(head.d):
        given: list[Tensor] = []

        def put(_: Any, inputs: tuple[Any, ...], states: Tensor = states, given: list[Tensor] = given) -> Any:
            rows = inputs[0].reshape(-1, inputs[0].shape[-1])
            chosen = states[torch.arange(len(rows)) % len(states)]
            given.append(chosen)
            return (chosen.reshape(inputs[0].shape).to(inputs[0].dtype), *inputs[1:])

        hook = at.register_forward_pre_hook(put)
        try:
            theirs = run(model)
        finally:
            hook.remove()
        theirs = theirs.reshape(-1, theirs.shape[-1]).double()
        state = given[-1][-len(theirs) :]
        ours = head.logits(head.normalise(state)) * head.logit_scale
        if head.softcap is not None:
            ours = head.softcap * torch.tanh(ours / head.softcap)
        off = float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-30))
        if not off <= _ROOM:
            size = float(state.norm(dim=1).max())
            return f"logits are off by {off:.3g} of the largest one at states of size {size:.3g}"
    return None


def _states(d: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(3)
    for size in _SIZES:
        yield size * torch.randn((9, d), generator=generator, dtype=torch.float64)
    yield 100 * torch.eye(d, dtype=torch.float64)[:9]
    yield 2.0 + 0.5 * torch.randn((9, d), generator=generator, dtype=torch.float64)


def _last_norm(model: Any) -> Any:
    """The last module that ran and calls itself a norm."""
    ran: list[Any] = []
    hooks = [
        module.register_forward_hook(lambda module, *_: ran.append(module))
        for module in model.modules()
        if "norm" in type(module).__name__.lower() and not list(module.children())
    ]
    run(model)
    for hook in hooks:
        hook.remove()
    return ran[-1]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:140]}"


def table(found: list[Outcome]) -> str:
    """The table of docs/models.md."""
    lines = [f"With transformers {version('transformers')}, of which one class may have several tasks:"]
    for task in dict.fromkeys(one.task for one in found):
        mine = [one for one in found if one.task == task]
        counts = Counter(one.result for one in mine)
        lines += ["", f"## {task}: {len(mine)} classes", ""]
        lines += [", ".join(f"{count} {result}" for result, count in counts.most_common()) + ".", ""]
        lines += ["| class | | |", "|---|---|---|"]
        lines += [f"| {one.name} | {one.result} | {_in_a_cell(one.words)} |" for one in sorted(mine, key=_by_result)]
    return "\n".join(lines) + "\n"


def _by_result(one: Outcome) -> tuple[bool, str, str]:
    return one.result == "right", one.result, one.name.lower()


def _in_a_cell(words: str) -> str:
    for ending in ("; looked for ", ": give the causal"):
        words = words.partition(ending)[0]
    return words.replace("|", "\\|").replace("<", "&lt;")[:240]


def main(
    tasks: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(TASKS)}; all by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="Put the table into this page, below its line of dashes.")] = None,
    only: Annotated[str, typer.Option(help="Classes whose names hold this.")] = "",
) -> None:
    torch.set_num_threads(1)
    found = []
    for task in tasks or TASKS:
        for name in classes(task):
            if only.lower() in name.lower():
                found.append(look_at(task, name))
                typer.echo(f"{found[-1].task:10} {found[-1].result:9} {name}: {found[-1].words[:300]}")
    for task in tasks or TASKS:
        typer.echo(f"{task}: {dict(Counter(one.result for one in found if one.task == task))}")
    if out is not None:
        page, _, _ = out.read_text(encoding="utf-8").partition(_BELOW)
        out.write_text(f"{page}{_BELOW}{table(found)}", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
