"""Has the class that a config names a head over the vocabulary? Its name tells, as transformers builds names."""

from __future__ import annotations

_WITH_HEAD = (
    "CausalLM",
    "LMHead",
    "ForConditionalGeneration",
    "DoubleHeads",
    "MTModel",
    "ForMaskedLM",
    "ForPreTraining",
)
_WITHOUT_HEAD = ("Classification", "QuestionAnswering", "MultipleChoice", "NextSentence", "Regression", "Reward")


def has_head(class_name: str | None) -> bool | None:
    """Whether a class has an output matrix over the vocabulary.

    Args:
        class_name: such as `LlamaForCausalLM` (it has) or `LlamaModel`, the bare layers (it has not).

    Returns:
        None where the name does not say, or there is none.
    """
    if class_name is None:
        return None
    if any(word in class_name for word in _WITHOUT_HEAD):
        return False
    if any(word in class_name for word in _WITH_HEAD):
        return True
    return False if class_name.endswith(("Model", "Encoder", "Decoder", "Backbone")) else None
