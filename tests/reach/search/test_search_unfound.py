"""How many reachable tokens are still unfound, at least: what is said, and when nothing may be."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from tiny_search import few_steps, live_of, tiny_llama

from reach.loading import Loading
from reach.search.options import LEVELS
from reach.search.prompts import RoundTrip
from reach.search.record import SearchRecord, SearchResult, Strength, Unfound
from reach.search.run import SearchOrder, search_to_folder
from reach.search.summary import summary_lines, unfound_words
from reach.search.unfound import unfound, unfound_of
from reach.strength.capture_recapture import chao2
from reach.strength.rates import wilson
from reach.vocabulary import load_vocabulary


def rate(found, tried):
    value = wilson(found, tried)
    return {"found": found, "tried": tried, "share": value.share, "low": value.low, "high": value.high}


def run_of(level, found, searched):
    """The record of independent runs, from which tokens of the sample each found and which the search had."""
    found, searched = np.asarray(found, dtype=bool), np.asarray(searched, dtype=bool)
    either = found.any(axis=0) | searched
    chao = chao2(found) if found.any() else None
    return {
        "level": level,
        "length": 2,
        "sample": found.shape[1],
        "runs": len(found),
        "found": found.sum(axis=1).tolist(),
        "attempted": [found.shape[1]] * len(found),
        "known": int(either.sum()),
        "union": int(found.any(axis=0).sum()),
        "recall": rate(int(found[:, either].sum()), int(either.sum()) * len(found)) if either.any() else None,
        "chao2": None if chao is None else {"estimate": chao.estimate, "low": chao.low, "high": chao.high},
        "missed_by_search": np.flatnonzero(found.any(axis=0) & ~searched).tolist(),
    }


def planted(level, found, tried):
    return {"level": level, "length": 2, "inputs": 100, "all": rate(found, tried), "rare": None, "missed": []}


def strong(level, sample, searched, share=0.9, runs=3, seed=0):
    """Runs that find the first tokens of the sample with a certain probability."""
    reachable, size = sample
    chance = np.random.default_rng(seed).random((runs, size))
    return run_of(level, (chance < share) & (np.arange(size) < reachable), np.arange(size) < searched)


def rows_of(strength, found, allowed):
    return unfound(msgspec.convert(strength, Strength), found, allowed)


def one(strength, found, allowed, level):
    return next(row for row in rows_of(strength, found, allowed) if row.level == level)


def test_what_the_runs_found_and_the_search_had_not_is_carried_over_to_all_tokens():
    # Given a sample of 100 of 1,000 tokens: 60 can be reached, the search had 40 of them, and in all 400.
    run = strong("tokens", (60, 100), 40, share=0.95)
    strength = {"runs": [run], "planted": [], "found_before": {"tokens": 400}}
    # When the measuring itself has brought 20 more.
    said = one(strength, {"tokens": 420}, 1000, "tokens")
    # Then 200 were missed before, of which 20 are found by now.
    assert len(run["missed_by_search"]) == 20
    assert 180 <= said.at_least <= 185
    assert 90 < said.low < said.at_least
    assert said.by == "tokens"
    assert said.too_weak is None
    # Finds of the runs that did not replay count for nothing: then 10 in 100 were missed, and not 20.
    run["confirmed"] = 10
    assert one(strength, {"tokens": 420}, 1000, "tokens").at_least == said.at_least - 100


def test_the_bound_is_one_where_difficulties_differ():
    """Many searches of a made-up vocabulary: on average no more is said than is true, and not nothing either."""
    rng = np.random.default_rng(3)
    said, true = [], []
    for _ in range(200):
        v, sample = 600, 150
        chance = np.clip(rng.beta(1.2, 0.5, v), 0, 1) * (rng.random(v) < 0.6)  # some cannot be reached at all
        search = rng.random(v) < 0.6 * chance
        chosen = rng.choice(v, sample, replace=False)
        runs = rng.random((3, sample)) < chance[chosen]
        record = run_of("free", runs, search[chosen])
        now = search.copy()
        now[chosen] |= runs.any(axis=0)
        strength = {"runs": [record], "planted": [], "found_before": {"free": int(search.sum())}}
        row = one(strength, {"free": int(now.sum())}, v, "free")
        assert row.at_least is not None
        said.append(row.at_least)
        true.append(int(((chance > 0) & ~now).sum()))
    assert 0.5 * np.mean(true) < np.mean(said) <= np.mean(true)
    assert np.mean(np.array(said) > np.array(true)) < 0.5


@pytest.mark.parametrize("seed", range(20))
def test_levels_stay_nested_and_within_what_the_verdicts_leave_open(seed):
    rng = np.random.default_rng(seed)
    allowed, sample = 500, 100
    counts = np.sort(rng.integers(100, allowed + 1, len(LEVELS)))[::-1]
    before = {level: int(count) for level, count in zip(LEVELS, counts, strict=True)}
    runs, plants, now = [], [], {}
    for level in LEVELS:
        reachable = int(rng.integers(0, sample + 1))
        runs.append(strong(level, (reachable, sample), int(rng.integers(0, reachable + 1)), rng.random(), seed=seed))
        tried = int(rng.integers(1, 60))
        plants.append(planted(level, int(rng.integers(0, tried + 1)), tried))
    more = 0
    for level in reversed(LEVELS):
        more = max(more, int(rng.integers(0, 10)))
        now[level] = min(allowed, before[level] + more)
    strength = {"runs": runs, "planted": plants, "found_before": before}
    rows = rows_of(strength, now, allowed)
    assert [row.level for row in rows] == list(LEVELS)
    totals = [row.found + row.at_least for row in rows if row.at_least is not None]
    assert totals == sorted(totals, reverse=True), "what a strict level reaches, a loose one does"
    assert all(total <= allowed for total in totals)
    for row in rows:
        assert (row.at_least is None) == (row.too_weak is not None)
        if row.at_least is not None:
            assert 0 <= row.low <= row.at_least


def test_a_strict_level_speaks_for_a_loose_one_whose_own_runs_are_too_weak():
    runs = [strong("hull", (60, 100), 40, share=0.01), strong("tokens", (60, 100), 30, share=0.95)]
    found = {"hull": 430, "tokens": 300}
    rows = rows_of({"runs": runs, "planted": [], "found_before": found}, found, 1000)
    hull, tokens = rows
    assert tokens.found + tokens.at_least == hull.found + hull.at_least > 590
    assert (hull.by, tokens.by) == ("tokens", "tokens")


def test_runs_that_find_little_say_nothing():
    # Given three runs that find 2 % of what the search itself has found.
    run = strong("hull", (100, 128), 100, share=0.02)
    said = one({"runs": [run], "planted": [], "found_before": {"hull": 300}}, {"hull": 300}, 512, "hull")
    assert (said.at_least, said.low) == (None, None)
    assert "of the 100 tokens known to be reachable" in said.too_weak
    assert "too weak to say" in unfound_words(said)
    # Nor do runs that agree on few and were not given time: here that is said.
    run["attempted"] = [30, 9, 40]
    assert "only 9 of 128" in one({"runs": [run], "planted": []}, {"hull": 300}, 512, "hull").too_weak


def test_an_estimate_that_what_is_known_refutes_says_nothing():
    # The three runs always find the same 70 tokens, so they let one expect no more; but 100 are known.
    always = np.tile(np.arange(128) < 70, (3, 1))
    run = run_of("text", always, np.arange(128) < 100)
    said = one({"runs": [run], "planted": []}, {"text": 300}, 512, "text")
    assert said.at_least is None
    assert "at most 77" in said.too_weak
    assert "100 are known" in said.too_weak


def test_none_unfound_is_not_said_beside_a_poor_recall_of_plants():
    run = strong("norm", (90, 128), 90, share=1.0)
    strength = {"runs": [run], "planted": [planted("norm", 2, 100)], "found_before": {"norm": 300}}
    said = one(strength, {"norm": 300}, 512, "norm")
    assert said.at_least is None
    assert "only 2 of 100" in said.too_weak
    # With a good one it is, in these words.
    strength["planted"] = [planted("norm", 98, 100)]
    said = one(strength, {"norm": 300}, 512, "norm")
    assert said.at_least == 0
    assert unfound_words(said) == "still unfound: at least 0, no sign of more"


def test_where_all_are_found_none_is_left_whatever_the_runs_say():
    said = one({"runs": [strong("free", (128, 128), 128, share=0.02)], "planted": []}, {"free": 512}, 512, "free")
    assert (said.at_least, said.too_weak) == (0, None)
    assert unfound_words(said) == "still unfound: none"


def test_without_time_for_runs_nothing_is_said():
    said = one({"runs": [], "planted": []}, {"free": 5}, 9, "free")
    assert said.at_least is None
    assert "no time" in said.too_weak


# --- a real search --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unfound") / "run"
    live = live_of(tiny_llama())
    settings = few_steps(budget=4.0, repeat=False, lengths=(1, 2))
    order = SearchOrder("tiny", Loading("tiny"))
    search_to_folder(live, RoundTrip(None), load_vocabulary(None, live.v), None, folder, settings, order)
    return folder


def test_terminal_page_and_record_say_at_least(run):
    from reports.search_page import search_page

    found = SearchResult.read(run)
    record, rows = found.record, found.record.strength.unfound
    assert tuple(row.level for row in rows) == record.levels
    text = "\n".join(summary_lines(record))
    assert text.count("still unfound:") == len(rows)
    assert "about" not in text
    shown = search_page(found).unfound
    said = {None: "–", 0: "at least 0"}
    assert [row.at_least for row in shown] == [
        "0" if row.at_least == 0 and row.by is None else said.get(row.at_least, f"at least {row.at_least}")
        for row in rows
    ]


def test_no_sign_of_more_is_no_zero_and_a_search_that_was_cut_short_says_so(run):
    from reports.render import render_page
    from reports.search_page import search_page

    found = SearchResult.read(run)
    strength = msgspec.structs.replace(
        found.record.strength, unfound=(Unfound("text", 5, 0, 0, "text", None), Unfound("text", 9, 0, 0, None, None))
    )
    record = msgspec.structs.replace(found.record, strength=strength, incomplete=("guided, text, length 8",))
    page = search_page(replace(found, record=record))
    some, none = page.unfound
    assert (some.at_least, some.low) == ("at least 0", "at least 0")
    assert "rule none out" in some.words
    assert (none.at_least, none.words) == ("0", "All that the head allows are found.")
    cut = "Time ran out before all that was planned"
    assert cut in render_page("search.html", scripts=(), page=page)
    whole = replace(found, record=msgspec.structs.replace(record, incomplete=()))
    assert cut not in render_page("search.html", scripts=(), page=search_page(whole))


def test_a_level_is_about_some_inputs_and_older_records_are_shown_in_these_words(run):
    from reports.search_page import search_page

    found = SearchResult.read(run)
    older = [msgspec.structs.replace(row, words="said after any input embeddings") for row in found.record.funnel]
    page = search_page(replace(found, record=msgspec.structs.replace(found.record, funnel=tuple(older))))
    words = {row.level: row.words for row in page.funnel}
    assert words["Free embeddings"] == "said after some input embeddings"
    assert words["Real tokens"] == "said after some real tokens"
    assert "after some input embeddings" in page.lead


def test_a_record_of_an_older_version_is_read_and_its_numbers_respect_the_nesting(run, tmp_path):
    from reports.search_page import write_search_report

    record = json.loads((run / "search.json").read_text("utf-8"))
    strength = record["strength"]
    del strength["unfound"], strength["found_before"]
    # As it used to be: an estimate for each level on its own, text with more in all than tokens.
    strength["runs"] = [
        strong(level, (60, 100), searched, share=0.95)
        | {"unfound": {"estimate": 10.0 * at, "low": 0.0, "high": 99.0}}
        for at, (level, searched) in enumerate(zip(record["levels"], (60, 50, 40, 30), strict=True))
    ]
    for one_run in strength["runs"]:
        del one_run["attempted"]
    del record["replay"]["unchecked"], record["parts"]
    older = msgspec.convert(record, SearchRecord)
    rows = unfound_of(older)
    totals = [row.found + row.at_least for row in rows if row.at_least is not None]
    assert len(totals) >= 2
    assert totals == sorted(totals, reverse=True)
    assert summary_lines(older)
    for file in run.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "search.json").unlink()
    (tmp_path / "search.json").write_text(json.dumps(record), encoding="utf-8")
    page = write_search_report(tmp_path, tmp_path / "old.html").read_text(encoding="utf-8")
    assert "Still unfound, at least" in page
