"""The release gate while a model is trained: each checkpoint that is saved is checked."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reach.options import default_jobs
from solvers.errors import BadInput

if TYPE_CHECKING:
    from reach.gate.run import GateResult

_log = logging.getLogger(__name__)
WARN, STOP, RAISE = "warn", "stop", "raise"


class GateFailed(RuntimeError):
    """A saved checkpoint does not pass the gate.

    Attributes:
        result: what was found.
    """

    def __init__(self, folder: Path, result: GateResult) -> None:
        super().__init__("; ".join([f"{folder} fails reach check", *_words(result)]))
        self.result = result


def gate_callback(*, on_failure: str = WARN, **settings: Any) -> Any:
    """A `transformers.TrainerCallback` that runs the gate on every checkpoint that is saved.

    Args:
        on_failure: `warn` logs a line for each failure, `stop` also ends the training there, `raise` raises
            `GateFailed` at once.
        settings: those of `reach.gate.settings.GateSettings`, such as `must`, `never`, `margin`, `seconds`.

    Returns:
        The callback; its `results` are those of the checkpoints so far, by their folders. A checkpoint that cannot be
        checked, such as one of an adapter alone, is a warning.

    Raises:
        BadInput: a setting makes no sense.
    """
    from transformers import TrainerCallback

    from reach.gate.run import check_model
    from reach.gate.settings import GateSettings

    if on_failure not in (WARN, STOP, RAISE):
        raise BadInput(f"on_failure is {on_failure!r}, but must be one of {WARN}, {STOP}, {RAISE}")
    asked = GateSettings(**{"jobs": default_jobs(), **settings})

    class GateCallback(TrainerCallback):
        """Runs the gate at save time."""

        def __init__(self) -> None:
            self.results: dict[Path, GateResult] = {}

        def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> Any:
            """Check what has just been saved."""
            if not state.is_world_process_zero:
                return control
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            tokenizer = more.get("processing_class")
            try:
                result = check_model(str(folder), asked, tokenizer=tokenizer)
            except BadInput as error:
                _log.warning("reach check: %s cannot be checked: %s", folder, error)
                return control
            self.results[folder] = result
            for words in _words(result):
                _log.warning("reach check: %s: %s", folder, words)
            if not result.ok and on_failure == RAISE:
                raise GateFailed(folder, result)
            if not result.ok and on_failure == STOP:
                control.should_training_stop = True
            return control

    return GateCallback()


def _words(result: GateResult) -> list[str]:
    return [finding.line(result.vocabulary) for finding in result.findings]
