"""A progress bar that shows hits and hits per second."""

from __future__ import annotations

from types import TracebackType

from tqdm import tqdm

from reach.terminal import harmless


class SearchBar:
    """One line on stderr: what is being done, hits over all levels, hits per second, inputs tried."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def __enter__(self) -> SearchBar:
        """Begin."""
        self._bar = tqdm(desc="search", unit=" hits", disable=self._quiet, dynamic_ncols=True, delay=0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._bar.close()

    def show(self, what: str, hits: int, inputs: int) -> None:
        """Bring the line up to date."""
        self._bar.set_description_str(harmless(what), refresh=False)
        self._bar.set_postfix_str(f"{inputs:,} inputs", refresh=False)
        # Hits can be taken back; the bar then only stands still.
        self._bar.update(max(0, hits - int(self._bar.n)))
