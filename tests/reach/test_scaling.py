"""The arithmetic of docs/scaling.md, by cases that are solved by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "scripts"))

import scaling  # noqa: E402
from scaling import Head, Machine, Work  # noqa: E402

from reach.runs.manifest import FunnelRow, Manifest  # noqa: E402
from solvers.errors import BadInput  # noqa: E402

# 2·1000²·500 = 10⁹ operations a product, 10⁶ bytes, 10 tokens inside the hull.
HEAD = Head(1000, 500, width=2, inside=0.01)
WORK = Work(products=2.0, proof_seconds=2.0, proof_d=1000, proof_power=1.0, start_seconds=3.0)
MACHINE = Machine("m", flops=1e9, cores=5, price=6.0, disk=1e6, net=5e5)


def test_a_scan_takes_its_terms_one_after_the_other():
    found = scaling.terms(HEAD, WORK, MACHINE)
    # Two products; 10 proofs of 2·(500/1000) core-seconds on 5 cores; a megabyte read, and fetched at half the speed.
    assert found.parts == {
        "products": 2.0, "proofs inside the hull": 2.0, "reading the head": 1.0, "download of the head": 2.0,
        "start": 3.0,
    }  # fmt: skip
    assert (found.total, found.dominant) == (10.0, "start")


def test_products_grow_with_the_square_of_v_and_proofs_with_v():
    one, two = (scaling.terms(Head(v, 500, inside=0.01), WORK, MACHINE) for v in (1000, 2000))
    assert (two.products / one.products, two.proofs / one.proofs, two.read / one.read) == (4.0, 2.0, 2.0)


def test_a_fleet_is_the_mean_of_its_heads():
    # A head of 10 s and one of four times its products, twice its proofs and bytes: 8 + 4 + 2 + 4 + 3 = 21 s.
    assert scaling.fleet_hours([(1.0, HEAD)], 360, WORK, MACHINE) == pytest.approx(1.0)
    mixed = [(30.0, HEAD), (10.0, Head(2000, 500, inside=0.01))]
    assert scaling.fleet_hours(mixed, 3600, WORK, MACHINE) == pytest.approx((3 * 10 + 21) / 4)


def test_the_power_of_a_proof_goes_through_both_measurements():
    assert scaling.power_between((1.0, 1.0), (2.0, 8.0)) == pytest.approx(3.0)
    work = Work(proof_power=scaling.power_between(*scaling.PROOFS))
    for d, seconds in scaling.PROOFS:
        assert work.proof(int(d)) == pytest.approx(seconds)


def test_seconds_of_cores_as_products():
    assert scaling.products_of(3.0, 2.0, HEAD, 1e9) == 6.0


def test_a_funnel_is_shared_out_whole():
    funnel = [
        FunnelRow("equal-rows", seconds=1.0), FunnelRow("own-row", seconds=2.0), FunnelRow("active-set", seconds=3.0),
        FunnelRow("analytic-centre", seconds=4.0), FunnelRow("margins-active-set", seconds=5.0),
        FunnelRow("exact-proof", seconds=None),
    ]  # fmt: skip
    found = scaling.stage_seconds(Manifest(funnel=funnel, seconds=20.0))
    assert found == {
        "own rows and closed forms": 3.0, "searches": 3.0, "proofs inside the hull": 4.0, "margins": 5.0, "rest": 5.0,
    }  # fmt: skip


def test_a_rate_is_operations_by_processor_time(monkeypatch: pytest.MonkeyPatch):
    times = iter([0.0, 4.0, 10.0, 12.0])
    monkeypatch.setattr(scaling.time, "process_time", lambda: next(times))
    # The faster of two products takes 2 s.
    assert scaling.core_rate(100, 10, 2) == 2.0 * 100 * 100 * 10 / 2.0


def test_every_column_or_row_says_where_it_comes_from():
    machines = (MACHINE, Machine("n", 1e9, 5, 6.0, status=scaling.MEASURED))
    mix = [(1.0, HEAD)]
    for _, heads, rows in (
        scaling.term_table(HEAD, WORK, machines),
        scaling.fleet_table(HEAD, mix, 100, WORK, machines),
        scaling.sensitivity_table(HEAD, mix, 100, WORK, machines),
        scaling.input_table(WORK, HEAD, 1e9, True, 100, machines),
    ):
        assert all(len(row) == len(heads) for row in rows)
        said = [row[-1] for row in rows] if heads[-1] == "source" else rows[-1][1:]
        assert rows[-1][0] == "source" or heads[-1] == "source"
        assert {one.removesuffix(", price as listed") for one in said} <= {
            "measured",
            "measured rates",
            "simulated",
            "assumed",
        }


def test_dollars_are_hours_times_the_price():
    # 360 scans of 10 s are an hour at $6.
    _, _, rows = scaling.fleet_table(HEAD, [(1.0, HEAD)], 360, WORK, [MACHINE])
    assert rows[0] == ["m", "10 s, $0.02", "2.8 h, $17", "60 min, $6.00", "simulated, price as listed"]


def test_other_inputs_change_what_they_should():
    _, _, rows = scaling.sensitivity_table(HEAD, [(1.0, HEAD)], 360, WORK, [MACHINE])
    cost = {row[0]: row[1] for row in rows}
    assert cost["as above"] == "$6.00"
    assert cost["every second head is that of another model"] == "$3.00"
    assert cost["prices a third (spot)"] == "$2.00"
    # Ten times the proofs: 28 s a scan. 5.3 products more: 15.3 s.
    assert cost["tokens inside the hull: 10 %"] == "$17"
    assert cost["with margins to 1 %"] == "$9.18"


@pytest.mark.parametrize("text", ["", "x", "1:2", "1:0x5", "-1:3x5", "0:3x5", "nan:3x5", "inf:3x5", "1:3x5,"])
def test_a_mix_that_is_none_is_refused(text: str):
    with pytest.raises(BadInput, match="write SHARE:VxD"):
        scaling.read_mix(text, 0.01)
    assert scaling.read_mix("1:3x5,2.5:7x11", 0.01) == [
        (1.0, Head(3, 5, inside=0.01)),
        (2.5, Head(7, 11, inside=0.01)),
    ]


def test_the_page_shows_what_the_script_prints():
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    rate = page.split("| a core's float32 products | ")[1].split(" ")[0]
    command = [sys.executable, "scripts/scaling.py", "--rate", f"{rate}e9"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120).stdout
    lines = [line for line in said.splitlines() if line.startswith("|") and "given with --rate" not in line]
    assert len(lines) > 40
    missing = [line for line in lines if line not in page]
    assert missing == []


def test_bad_input_is_one_line():
    for words in (["--mix", "x"], ["absent"]):
        command = [sys.executable, "scripts/scaling.py", "--rate", "1e9", *words]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert (said.returncode, said.stdout, said.stderr.count("\n")) == (2, "", 1)
