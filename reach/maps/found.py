"""The map that a run holds, as a page is given it."""

from __future__ import annotations

from dataclasses import dataclass

from reach.runs.folder import RunFolder
from reach.runs.map import VocabularyMap


@dataclass(frozen=True)
class MapFound:
    """What there is for a page to show.

    Attributes:
        map: the map, or none.
        note: why there is none or a part of it is missing, in a sentence; none if all is there.
    """

    map: VocabularyMap | None
    note: str | None = None


def stored_map(run: RunFolder) -> MapFound:
    """The map in a run folder, if it is of the head that was scanned.

    Raises:
        BadInput: it is damaged.
    """
    found = run.tables.map
    if found is not None and found.of == run.record.fingerprint:
        return MapFound(found)
    return MapFound(
        None,
        f"This run has no map of its vocabulary; 'reach report {run.path.resolve().name}' makes one from the model.",
    )
