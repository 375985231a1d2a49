"""The callback that checks what a training run saves."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gate_models import END, PAD, model, save, tokenizer
from transformers import TrainerControl, TrainerState
from transformers.trainer_callback import CallbackHandler, DefaultFlowCallback

from reach.training import GateFailed, gate_callback
from solvers.errors import BadInput


def saved(place: Path, callback: Any, *, zero: bool, step: int = 7, bare: bool = False) -> TrainerControl:
    """What a trainer does at save time: the checkpoint is written, and its callbacks are told."""

    def change(head: torch.Tensor) -> None:
        if zero:
            head[END] = 0

    folder = save(model(), place / f"checkpoint-{step}", change, suppress_tokens=[PAD])
    words = tokenizer()
    if bare:
        for file in folder.glob("*tok*"):
            file.unlink()
    state, control = TrainerState(global_step=step, is_world_process_zero=True), TrainerControl()
    handler = CallbackHandler([DefaultFlowCallback, callback], None, words, None, None)
    return handler.on_save(SimpleNamespace(output_dir=str(place)), state, control)


def test_a_checkpoint_that_cannot_stop_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    callback = gate_callback()
    with caplog.at_level(logging.WARNING, logger="reach"):
        control = saved(tmp_path, callback, zero=True)
        saved(tmp_path, callback, zero=False, step=8)
    assert not control.should_training_stop
    (record,) = caplog.records
    assert "checkpoint-7: '<|end|>' (95): must be said as eos" in record.getMessage()
    assert [(folder.name, result.ok) for folder, result in callback.results.items()] == [
        ("checkpoint-7", False), ("checkpoint-8", True),
    ]  # fmt: skip


def test_it_can_stop_the_run_or_raise(tmp_path: Path) -> None:
    assert saved(tmp_path / "a", gate_callback(on_failure="stop"), zero=True).should_training_stop
    assert not saved(tmp_path / "b", gate_callback(on_failure="stop"), zero=False).should_training_stop
    with pytest.raises(GateFailed, match="never the argmax") as caught:
        saved(tmp_path / "c", gate_callback(on_failure="raise"), zero=True)
    assert caught.value.result.findings[0].tokens == (END,)


def test_the_trainers_tokenizer_serves_a_checkpoint_without_one(tmp_path: Path) -> None:
    callback = gate_callback(must="w3")
    saved(tmp_path, callback, zero=True, bare=True)
    (result,) = callback.results.values()
    assert {one.asked.token for one in result.judged if one.asked.side == "must"} == {3, 91, END}
    assert [finding.tokens for finding in result.findings] == [(END,)]


def test_a_checkpoint_that_cannot_be_read_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    callback = gate_callback(on_failure="raise")
    (tmp_path / "checkpoint-1").mkdir()
    handler = CallbackHandler([DefaultFlowCallback, callback], None, None, None, None)
    state = TrainerState(global_step=1, is_world_process_zero=True)
    with caplog.at_level(logging.WARNING, logger="reach"):
        handler.on_save(SimpleNamespace(output_dir=str(tmp_path)), state, TrainerControl())
    assert "checkpoint-1 cannot be checked" in caplog.text
    assert callback.results == {}


def test_settings_are_looked_at_at_once() -> None:
    with pytest.raises(BadInput, match="on_failure is 'shout'"):
        gate_callback(on_failure="shout")
    with pytest.raises(BadInput, match="--margin must be at least 0"):
        gate_callback(margin=-1)


def test_a_real_training_run_is_checked(tmp_path: Path) -> None:
    from transformers import Trainer, TrainingArguments

    made = model()
    with torch.no_grad():
        made.lm_head.weight[END] = 0
    made.lm_head.weight.requires_grad_(False)
    callback = gate_callback(on_failure="stop")
    data = [{"input_ids": torch.arange(5), "labels": torch.arange(5)}] * 8
    how = TrainingArguments(
        str(tmp_path), max_steps=4, save_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True
    )
    Trainer(made, how, train_dataset=data, processing_class=tokenizer(), callbacks=[callback]).train()
    assert [folder.name for folder in callback.results] == ["checkpoint-2"]
    assert [finding.kind for finding in next(iter(callback.results.values())).findings][:1] == ["unspeakable"]
