"""What all engines are: executors of the standard library's kind that can also hand out a large object once."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Any, ClassVar, Generic, TypeVar

_Value = TypeVar("_Value")
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_LOOK = 5.0
"""Seconds between two looks at the engine."""


class Shared(ABC, Generic[_Value]):
    """A large object that tasks are given by name; a process that runs tasks loads it once."""

    @abstractmethod
    def get(self) -> _Value:
        """The object, in whichever process this is called."""

    def release(self) -> None:
        """Say that no further task needs it."""


class Engine(Executor, ABC):
    """An executor: `submit` and `map` as `concurrent.futures` has them, and `share`.

    Tasks are functions of a module with arguments that can be pickled. A task whose worker dies is started again
    somewhere else, so it must not matter how often it runs. What a task raises comes out of its future.

    Attributes:
        name: of the engine, as `--engine` and the manifest have it.
        slots: how many tasks may run at once.
        jobs: cores for each task.
        here: whether tasks run in this very process, so that they may be told things that cannot be pickled.
    """

    name: ClassVar[str]
    here: ClassVar[bool] = False
    slots: int = 1
    jobs: int = 1
    _looked: float = 0.0

    @abstractmethod
    def submit(self, fn: Callable[..., _Result], /, *args: Any, **kwargs: Any) -> Future[_Result]:
        """Start a task.

        Raises:
            BadInput: from its future, where its workers died again and again, or the engine itself is gone.
        """

    @abstractmethod
    def share(self, value: _Value) -> Shared[_Value]:
        """Hand out an object, to be given to tasks as an argument.

        Raises:
            BadInput: there is no room for it.
        """

    def device(self, asked: str) -> str:
        """How a task calls the device that was asked for."""
        return asked

    def record(self) -> dict[str, Any]:
        """As the manifest keeps it."""
        return {"name": self.name}

    def check(self) -> None:
        """See now and then, while tasks are waited for, whether the engine is still there.

        Raises:
            BadInput: it is gone.
        """

    def as_done(
        self, tasks: Iterable[_Item], start: Callable[[_Item], Future[_Result]]
    ) -> Iterator[tuple[_Item, _Result]]:
        """Start tasks, a few more than may run at once, and give their results as they come."""
        pending: dict[Future[_Result], _Item] = {}
        most = 1 if self.here else 2 * self.slots
        try:
            for task in tasks:
                pending[start(task)] = task
                while len(pending) >= most:
                    yield from self._finished(pending)
            while pending:
                yield from self._finished(pending)
        finally:
            for future in pending:
                future.cancel()

    def _finished(self, pending: dict[Future[_Result], _Item]) -> Iterator[tuple[_Item, _Result]]:
        done = wait(pending, _LOOK, FIRST_COMPLETED).done
        if time.monotonic() - self._looked > _LOOK:
            self.check()
            self._looked = time.monotonic()
        for future in done:
            yield pending.pop(future), future.result()


class _Here(Shared[_Value]):
    """An object that is here anyway."""

    def __init__(self, value: _Value) -> None:
        self._value = value

    def get(self) -> _Value:
        return self._value


class InProcess(Engine):
    """Each task at once, when it is submitted, in this process."""

    name = "in-process"
    here = True

    def submit(self, fn: Callable[..., _Result], /, *args: Any, **kwargs: Any) -> Future[_Result]:
        """Run a task; only what it raises as an `Exception` waits for whoever asks the future."""
        future: Future[_Result] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future

    def share(self, value: _Value) -> Shared[_Value]:
        """Nothing need be handed out."""
        return _Here(value)
