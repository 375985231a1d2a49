from __future__ import annotations

from typing import Any

import msgspec
from report_builders import funnel

from reach.runs.manifest import FunnelRow
from reports.funnel import funnel_view


def rows(stages: list[dict[str, Any]]) -> list[FunnelRow]:
    return msgspec.convert(stages, list[FunnelRow])


def changed(*changes: dict[str, Any]) -> list[FunnelRow]:
    """The stages of a real scan up to the one that measures margins, with numbers of a test's own."""
    real = funnel()
    last = [stage["stage"].startswith("margins") for stage in real].index(True) + 1
    return rows([stage | change for stage, change in zip(real[last - len(changes) : last], changes, strict=True)])


def test_a_real_scan_leaves_nothing_unsaid():
    found = funnel_view(rows(funnel()), 4.5, undecided=0)
    assert len(found.rows) > 4
    assert not [row for row in found.rows if "not recorded" in (row.stage, row.rows_in, row.settled, row.seconds)]


def test_each_stage_shows_what_it_was_given_and_what_it_cost():
    # Given a stage that settles 90 of 100 rows in a quarter of the time, one that settles 7 of the rest
    stages = changed(
        {"rows_in": 100, "settled": 90, "seconds": 1.0},
        {"rows_in": 10, "settled": 7, "seconds": 3.0},
        # and a third one that measures the margins of 97 rows and settles none
        {"rows_in": 97, "settled": 0, "seconds": 0.0},
    )
    # When they are viewed
    funnel = funnel_view(stages, 4.5, undecided=3)
    # Then shares are of the rows that came in, and of the time of all stages
    assert [row.settled_share for row in funnel.rows] == [0.9, 0.7, 0.0]
    assert [row.seconds_share for row in funnel.rows] == [0.25, 0.75, 0.0]
    assert (funnel.left, funnel.seconds, funnel.measures) == ("3 tokens", "4.50 s", True)


def test_missing_numbers_are_not_recorded():
    (row,) = funnel_view(changed({"rows_in": None, "settled": 3, "seconds": None}), None).rows
    assert (row.rows_in, row.settled, row.seconds, row.settled_share) == ("not recorded", "3", "not recorded", None)


def test_no_funnel_at_all():
    assert funnel_view([], None).rows == ()


def test_a_stage_without_rows_settles_no_share():
    (row,) = funnel_view(changed({"rows_in": 0, "settled": 0, "seconds": 0}), 0).rows
    assert row.settled_share is None
