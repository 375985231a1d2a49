"""Scans whose workers are killed while they are at it."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from engine_heads import head, scanned, settings_of, table_bytes

from reach.engines.base import Engine
from reach.scanning.journal import Journal
from reach.scanning.scan import scan

KILLS = 3


def scan_while_killing(
    engine: Engine, folder: Path, workers: Callable[[], list[int]], between: tuple[float, float]
) -> None:
    """Tables must be those of one process, every row be taken in once by a stage, and somebody have been killed.

    Args:
        engine: whose workers.
        folder: of the journal.
        workers: the ids of those that can be killed now.
        between: least and most seconds from one to the next.
    """
    whole, rng, over = scanned("cone", 8), random.Random(8), threading.Event()
    killed: list[int] = []

    def kill() -> None:
        while len(killed) < KILLS and not over.wait(rng.uniform(*between)):
            found = workers()
            if found:
                killed.append(rng.choice(found))
                os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    problem, journal = head("cone", 8), Journal(folder)
    try:
        assert table_bytes(problem, scan(problem, settings_of("cone"), journal=journal, engine=engine)) == whole
    finally:
        over.set()
        killer.join()
    assert killed
    deltas = Journal(folder).read(problem.v - 1)
    for number in {delta.record.stage for delta in deltas}:
        rows = np.concatenate([delta.part.rows for delta in deltas if delta.record.stage == number])
        assert len(rows) == len(np.unique(rows))
