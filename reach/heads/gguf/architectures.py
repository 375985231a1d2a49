"""What llama.cpp does at the end of each kind of model: which norm, which tensors, which factor on the logits.

Taken from its sources, the graph of every architecture in `src/models/` and the tensors that it loads, as they were
in August 2026. What its conversion changes is in the files already: Gemma's factors are stored as 1 + γ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from reach.heads.overrides import NormForm

Part = Literal["none", "optional", "needed"]
"""Whether an architecture has a part: never, where it is stored, or always, so that a file without is incomplete."""

_OUTPUT, _EMBEDDING = "output.weight", "token_embd.weight"


@dataclass(frozen=True)
class GgufLayout:
    """Where one architecture has its head, and what becomes of the logits.

    Attributes:
        norm: form of the final norm; none where the file's eps tells it.
        gamma: name of its factors; none where it has none.
        shift: whether a shift is added after them.
        output: names of the output matrix, tried in order.
        bias: whether an output bias is added.
        scale: what is done with the setting `logit_scale`; `fixed` multiplies by the default whatever it says.
        scale_default: the setting where the file has none, from the width; none means no factor.
        scale_needed: whether a file without the setting is refused.
        capped: whether the setting `final_logit_softcapping` is used.
        cap_default: the cap where the file has none; none means none.
    """

    norm: NormForm | None
    gamma: str | None = "output_norm.weight"
    shift: Part = "none"
    output: tuple[str, ...] = (_OUTPUT, _EMBEDDING)
    bias: Part = "none"
    scale: Literal["multiplies", "divides", "fixed"] | None = None
    scale_default: Callable[[int], float] | None = None
    scale_needed: bool = False
    capped: bool = False
    cap_default: float | None = None


_RMS = GgufLayout("rmsnorm")
_LAYER = GgufLayout("layernorm", shift="needed")
_OWN, _TIED = (_OUTPUT,), (_EMBEDDING,)


def _all(names: str, layout: GgufLayout) -> dict[str, GgufLayout]:
    return dict.fromkeys(names.split(), layout)


def _of_256(width: int) -> float:
    return 256 / width


LAYOUTS: dict[str, GgufLayout] = {
    **_all(
        "afmoe arcee arctic barbet chatglm cogvlm deci deepseek deepseek2 deepseek2-ocr deepseek32 dream ernie4_5 "
        "ernie4_5-moe exaone exaone4 falcon-h1 glm-dsa glm4 glm4moe grovemoe hunyuan-dense hunyuan-moe hunyuan_vl "
        "hy_v3 jamba laguna llada llama llama4 maincoder mamba mamba2 mistral3 mistral4 nanbeige nemotron_h "
        "nemotron_h_moe paddleocr plamo2 plamo3 qwen2vl qwen3 qwen35 qwen35moe qwen3moe qwen3next qwen3vl qwen3vlmoe "
        "refact rnd1 seed_oss smallthinker smollm3",
        _RMS,
    ),
    **_all(
        "apertus arwkv7 baichuan bailingmoe bailingmoe2 deepseek4 dots1 exaone-moe gpt-oss internlm2 kimi-linear "
        "llada-moe mellum mimo2 minimax-m2 minimax-m3 olmo2 olmoe plamo qwen qwen2moe step35 xverse",
        replace(_RMS, output=_OWN),
    ),
    **_all("bitnet gemma openelm plm", replace(_RMS, output=_TIED)),
    **_all("qwen2 pangu-embedded", replace(_RMS, bias="optional")),
    **_all("phi3", replace(_RMS, shift="optional", bias="optional")),
    **_all("phimoe", replace(_RMS, shift="needed", bias="needed", output=_OWN)),
    **_all("rwkv6qwen2", replace(_RMS, shift="optional", output=_OWN)),
    **_all("lfm2 lfm2moe", replace(_RMS, gamma="token_embd_norm.weight")),
    **_all("t5", replace(_RMS, gamma="dec.output_norm.weight")),
    **_all("talkie", replace(_RMS, gamma=None, output=_OWN, scale="multiplies", scale_needed=True)),
    **_all("granite granitemoe", replace(_RMS, scale="divides", scale_needed=True)),
    **_all("granitehybrid", replace(_RMS, scale="divides")),
    **_all("grok", replace(_RMS, scale="multiplies", scale_default=lambda _: 0.5773502691896257, capped=True)),
    **_all("minicpm", replace(_RMS, scale="divides", scale_default=_of_256)),
    **_all("minicpm3", replace(_RMS, scale="fixed", scale_default=_of_256)),
    **_all("gemma2", replace(_RMS, output=_TIED, capped=True, cap_default=30.0)),
    **_all("gemma3", replace(_RMS, capped=True)),
    **_all("gemma3n gemma4", replace(_RMS, capped=True, cap_default=30.0)),
    **_all("bloom falcon gpt2 jais2 starcoder starcoder2", _LAYER),
    **_all("mpt", replace(_LAYER, shift="optional")),
    **_all("codeshell gptneox jais nemotron orion rwkv6 rwkv7 stablelm", replace(_LAYER, output=_OWN)),
    **_all("phi2", replace(_LAYER, output=_OWN, bias="needed")),
    **_all("dbrx", replace(_LAYER, shift="none", output=_OWN)),
    **_all("olmo", GgufLayout("layernorm", gamma=None)),
    **_all("command-r", replace(_LAYER, shift="none", output=_TIED, scale="multiplies")),
    **_all("cohere2", replace(_LAYER, shift="none", output=_TIED, scale="multiplies", scale_needed=True)),
    **_all("cohere2moe", GgufLayout(None, scale="multiplies", scale_needed=True)),
}
"""By the name that `general.architecture` gives."""

_ENCODERS = (
    "bert eurobert gemma-embedding jina-bert-v2 jina-bert-v3 llama-embed modern-bert neo-bert nomic-bert "
    "nomic-bert-moe t5encoder"
)
_DRAFTS = "dflash eagle3 gemma4-assistant"
_ENCODER = "an encoder without a head over the vocabulary: give a language model"
_DRAFT = "a draft model, which guesses ahead for another one: give the model that it drafts for"

REFUSED: dict[str, str] = {
    **dict.fromkeys(_ENCODERS.split(), _ENCODER),
    **dict.fromkeys(_DRAFTS.split(), _DRAFT),
    "chameleon": "of its logits llama.cpp puts those of the image tokens out of reach, which no head here does",
    "clip": "an encoder of images or sound (mmproj) without a head over the vocabulary: give the language model",
    "wavtokenizer-dec": "a decoder of sound, whose output matrix has no tokens",
}
"""Architectures that have no head to read, with the reason."""
