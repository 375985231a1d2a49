"""Processes of this machine: a pool of the standard library that is made anew where one of its workers dies."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Generic, TypeVar

from reach.engines.base import Engine, Shared
from reach.engines.shared import loaded, read_shared, write_shared
from reach.runs.atomic import writing_to
from solvers.errors import BadInput

_Value = TypeVar("_Value")
_Result = TypeVar("_Result")
_MOST_LOSSES = 5
"""Pools that may break one after the other without a task finished between."""


@dataclass(frozen=True)
class _InFile(Shared[_Value]):
    """An object in a file that each worker maps into memory."""

    path: Path

    def get(self) -> _Value:
        value: _Value = loaded(self.path, lambda: read_shared(self.path))
        return value

    def release(self) -> None:
        self.path.unlink(missing_ok=True)


@dataclass
class _Task(Generic[_Result]):
    """A task, and the future that its caller has."""

    work: Callable[[], _Result]
    future: Future[_Result]


class Processes(Engine):
    """A `ProcessPoolExecutor` of fresh processes. A killed worker costs what was being worked on, which starts again.

    Args:
        workers: how many processes.
        cores: of this machine, for all of them together.
    """

    name = "processes"

    def __init__(self, workers: int, cores: int = 1) -> None:
        self.slots, self.jobs = workers, max(1, cores // workers)
        self._lock, self._numbers = threading.RLock(), count()
        self._pool: ProcessPoolExecutor | None = None
        self._losses, self._closed = 0, False
        with writing_to(tempfile.gettempdir()):
            self._folder = Path(tempfile.mkdtemp(prefix="reach-engine-"))

    def record(self) -> dict[str, Any]:
        """As the manifest keeps it."""
        return {**super().record(), "workers": self.slots}

    def share(self, value: _Value) -> Shared[_Value]:
        """Write an object to a file of the temporary folder."""
        path = self._folder / f"{next(self._numbers)}"
        write_shared(path, value)
        return _InFile(path)

    def submit(self, fn: Callable[..., _Result], /, *args: Any, **kwargs: Any) -> Future[_Result]:
        """Hand a task to the pool."""
        task = _Task(partial(fn, *args, **kwargs), Future[_Result]())
        self._start(task)
        return task.future

    def _start(self, task: _Task[_Result]) -> None:
        with self._lock:
            if self._closed:
                raise RuntimeError("the engine is shut down")
            while True:
                if self._pool is None:
                    self._pool = self._new_pool()
                pool = self._pool
                try:
                    inner = pool.submit(task.work)
                    break
                except BrokenProcessPool:
                    self._lost(pool)
        task.future.add_done_callback(lambda outer: inner.cancel() if outer.cancelled() else None)
        inner.add_done_callback(partial(self._done, task, pool))

    def _done(self, task: _Task[_Result], pool: ProcessPoolExecutor, inner: Future[_Result]) -> None:
        if inner.cancelled():
            task.future.cancel()
            return
        error = inner.exception()
        if isinstance(error, BrokenProcessPool) and not task.future.cancelled():
            with self._lock:
                self._lost(pool)
                again = self._losses <= _MOST_LOSSES and not self._closed
                if again:
                    self._start(task)
                    return
            error = BadInput(
                f"--engine processes: workers died {self._losses} times and finished nothing between (killed, or out "
                "of memory?); use fewer --workers, smaller --block-tokens, or --engine in-process"
            )
        elif error is None:
            self._losses = 0
        if task.future.set_running_or_notify_cancel():
            if error is None:
                task.future.set_result(inner.result())
            else:
                task.future.set_exception(error)

    def _lost(self, pool: ProcessPoolExecutor) -> None:
        """Give up a broken pool; all of its tasks say so, and the first to say it counts."""
        if pool is self._pool:
            self._pool = None
            self._losses += 1
            pool.shutdown(wait=False)

    def _new_pool(self) -> ProcessPoolExecutor:
        # Not forked: threads of linear algebra would be lost on the way.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self.slots, context, initializer=_begin, initargs=(os.getpid(), self._folder))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers; those that are still at something are killed, unless it is waited for."""
        with self._lock:
            self._closed, pool, self._pool = True, self._pool, None
        if pool is not None:
            working = list((getattr(pool, "_processes", None) or {}).values())
            if cancel_futures:
                for process in working:
                    process.kill()
            pool.shutdown(wait=wait, cancel_futures=cancel_futures)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __exit__(self, kind: object, *_: object) -> None:
        """End the workers, at once where something went wrong."""
        self.shutdown(cancel_futures=kind is not None)


def _begin(parent: int, folder: Path) -> None:
    """What a worker does first: leave Ctrl-C to the parent, and do not outlive it."""
    with contextlib.suppress(ValueError):  # where signals are not to be had
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent, folder), daemon=True).start()


def _end_with(parent: int, folder: Path) -> None:
    process = multiprocessing.parent_process()
    if process is not None and process.pid == parent:
        process.join()
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)
