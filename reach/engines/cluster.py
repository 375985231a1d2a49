"""A Ray cluster: one that runs already, or one of this machine's cores that ends with the command."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from reach.engines.base import Engine, Shared
from reach.engines.shared import loaded, packed, unpacked
from reach.options import short
from solvers.errors import BadInput

_Value = TypeVar("_Value")
_Result = TypeVar("_Result")
_RETRIES = 10
"""How often Ray starts a task again whose worker died, before it gives up."""
_TOKEN = "; where it runs with a token, set RAY_AUTH_MODE=token here as well"
_PATIENCE, _TRIES = 10, 3
"""Seconds in which a cluster must answer, and how often it may fail to."""
_STORE = 256 * 2**20
"""Bytes of the object store of a cluster that is started here, beyond a quarter more than what is shared first."""


class _InStore(Shared[_Value]):
    """An object in Ray's object store, which each machine copies once and each worker reads where it lies."""

    def __init__(self, reference: Any, key: str) -> None:
        self._reference, self._key = reference, key

    def get(self) -> _Value:
        import ray

        value: _Value = loaded(self._key, lambda: unpacked(*ray.get(self._reference)))
        return value

    def release(self) -> None:
        self._reference = None


class Ray(Engine):
    """Tasks of Ray, which starts those of lost workers and machines again.

    Args:
        address: of a cluster, as `ray.init` takes it; none starts one here.
        workers: how many tasks at once, in a cluster that is started here.
        device: of the tasks: each takes a GPU where this is one, else a core.

    Raises:
        BadInput: Ray is not installed, or there is no cluster at the address.
    """

    name = "ray"

    def __init__(self, address: str | None = None, workers: int = 1, device: str = "cpu") -> None:
        try:
            import ray
        except ImportError:
            raise BadInput(
                "--engine ray: Ray is not installed; it is had with: pip install ray"
            ) from None
        self._ray, self._address, self._gpus = ray, address, int(device.startswith("cuda"))
        self.slots, self._started = workers, False
        if address is not None:
            _check_address(address)
            self._start({"address": address})

    def _start(self, options: dict[str, Any]) -> None:
        try:
            self._ray.init(
                **options, log_to_driver=False, logging_level=logging.ERROR, configure_logging=True,
                namespace="token-reachability",
            )  # fmt: skip
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            place, hint = ("--engine ray", "") if self._address is None else (f"--address {self._address}", _TOKEN)
            raise BadInput(f"{place}: no Ray cluster can be had there: {_line(error)}{hint}") from None
        self._started = True
        self._head: str = self._ray.get_runtime_context().gcs_address
        if self._address is not None:
            resources = self._ray.cluster_resources()
            self.slots = max(1, int(resources.get("GPU" if self._gpus else "CPU", 1)))
        # Cores count for nothing but how many tasks run side by side.
        self._task: Any = self._ray.remote(num_cpus=1, num_gpus=self._gpus, max_retries=_RETRIES)(_call)

    def check(self) -> None:
        """See whether the head node still answers; Ray itself would end this process after a minute, without a word.

        Raises:
            BadInput: it does not.
        """
        if not self._started or self._answers():
            return
        self._started = False
        raise BadInput(
            f"--engine ray: the head node at {self._head} is gone; what was finished is kept; go on with --resume"
        )

    def _answers(self) -> bool:
        host, _, port = self._head.rpartition(":")
        for _ in range(_TRIES):
            try:
                socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
            except OSError:
                time.sleep(1)
            else:
                return True
        return False

    def device(self, asked: str) -> str:
        """A task sees no GPU but its own."""
        return asked.partition(":")[0]

    def record(self) -> dict[str, Any]:
        """As the manifest keeps it."""
        return {**super().record(), "workers": self.slots, "ray": self._ray.__version__}

    def share(self, value: _Value) -> Shared[_Value]:
        """Put an object into the object store."""
        pickled, buffers = packed(value)
        self._ready(len(pickled) + sum(map(len, buffers)))
        try:
            reference = self._ray.put((pickled, buffers))
        except self._ray.exceptions.RayError as error:
            raise self._bad(error) from None
        return _InStore(reference, reference.hex())

    def _ready(self, size: int = 0) -> None:
        if not self._started:
            store = _STORE + size + size // 4
            here = {"address": "local", "num_cpus": self.slots, **({"num_gpus": self._gpus} if self._gpus else {})}
            self._start({**here, "include_dashboard": False, "object_store_memory": store})

    def submit(self, fn: Callable[..., _Result], /, *args: Any, **kwargs: Any) -> Future[_Result]:
        """Start a task of Ray."""
        self._ready()
        outer: Future[_Result] = Future()
        try:
            reference = self._task.remote(fn, args, kwargs)
        except self._ray.exceptions.RayError as error:
            outer.set_exception(self._bad(error))
            return outer
        outer.add_done_callback(lambda done: self._cancel(reference) if done.cancelled() else None)
        reference.future().add_done_callback(partial(self._done, outer))
        return outer

    def _done(self, outer: Future[_Result], inner: Future[_Result]) -> None:
        if not outer.set_running_or_notify_cancel():
            return
        error = inner.exception()
        if error is None:
            outer.set_result(inner.result())
        else:
            outer.set_exception(self._bad(error))

    def _cancel(self, reference: Any) -> None:
        with contextlib.suppress(Exception):  # a cluster that is gone has nothing to cancel
            self._ray.cancel(reference, force=True)

    def _bad(self, error: BaseException) -> BaseException:
        """What a task raised as it was raised there; what befell Ray itself in one line."""
        kinds = self._ray.exceptions
        if isinstance(error, kinds.RayTaskError):
            return error.cause if isinstance(error.cause, BaseException) else error
        if isinstance(error, kinds.ObjectStoreFullError | kinds.OutOfDiskError):
            return BadInput("--engine ray: the object store is full; give the cluster a larger --object-store-memory")
        if isinstance(error, kinds.OutOfMemoryError):
            return BadInput("--engine ray: a machine ran out of memory again and again; use smaller --block-tokens")
        if isinstance(error, kinds.WorkerCrashedError | kinds.NodeDiedError):
            return BadInput(
                f"--engine ray: the workers of one task died {_RETRIES + 1} times (killed, or out of memory?); "
                "use smaller --block-tokens"
            )
        if isinstance(error, kinds.RayError):
            return BadInput(f"--engine ray: the cluster is gone or broken: {_line(error)}; go on with --resume")
        return error

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        """Leave the cluster, and end one that was started here."""
        if self._started and self._answers():
            self._started = False
            with contextlib.suppress(Exception):
                self._ray.shutdown()


def _call(fn: Callable[..., _Result], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Result:
    return fn(*args, **kwargs)


def _check_address(address: str) -> None:
    """Refuse an address where nobody answers, since Ray itself would go on asking for minutes.

    Raises:
        BadInput: it is no address, or nobody answers.
    """
    if address == "auto" or "://" in address:
        return
    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise BadInput(f"--address {short(address)}: write HOST:PORT, such as 10.0.0.1:6379, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        raise BadInput(f"--address {short(address)}: nobody answers there: {error.strerror or error}") from None


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:300]
