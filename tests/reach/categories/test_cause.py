"""What a group of tokens has in common: causes that were planted are found, and none is invented."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from reach.categories.attributes import Attribute
from reach.categories.common import explain, shared
from reach.categories.findings import Finding
from reach.categorise import as_table
from reach.runs.manifest import Manifest
from reach.runs.schema import VERDICTS
from reach.verdicts import RunTables, Verdicts

N = 4000


def attribute(key: str, has: np.ndarray, *, why: bool = True) -> Attribute:
    return Attribute(key, f"{key} rows", has, says_why=why)


def mask(ids: object, n: int = N) -> np.ndarray:
    found = np.zeros(n, dtype=bool)
    found[ids] = True
    return found


def verdicts_of(
    unspeakable: object,
    findings: list[Finding],
    *,
    n: int = N,
    norm: np.ndarray | None = None,
    verdict: str = "unspeakable",
) -> Verdicts:
    names = np.full(n, "speakable", dtype=object)
    names[unspeakable] = verdict
    rng = np.random.default_rng(5)
    texts = ["".join(rng.choice(list("abcdefgh"), 4)) for _ in range(n)]
    columns = {
        "token_id": range(n), "token": texts, "text": texts, "verdict": names, "own_direction": names == "speakable",
        "row_norm": rng.lognormal(size=n) if norm is None else norm,
    }  # fmt: skip
    table = pa.table(
        {name: pa.array(columns.get(name, [None] * n), VERDICTS.field(name).type) for name in VERDICTS.names}
    )
    return Verdicts(RunTables(table, categories=as_table(findings)), Manifest(v=n))


def test_a_planted_cause_is_found_with_its_counts() -> None:
    """40 of 50 are padding rows, of which there are 60: 20 of the 3950 others."""
    group = mask(np.arange(50))
    found = explain(group, [attribute("padding", mask(np.arange(10, 70))), attribute("all", np.ones(N, bool))])
    assert len(found) == 1
    one = found[0]
    assert [part.key for part in one.attributes] == ["padding"]
    assert (one.inside, one.group, one.elsewhere, one.others) == (40, 50, 20, 3950)
    assert one.lift == pytest.approx(40 / 50 / (60 / 4000))


def test_what_all_tokens_have_explains_nothing() -> None:
    group = mask(np.arange(50))
    nearly_all = mask(np.arange(N - 5))
    assert explain(group, [attribute("common", nearly_all), attribute("all", np.ones(N, bool))]) == []


def test_two_causes_are_two_parts() -> None:
    group = mask(np.arange(100))
    parts = explain(group, [attribute("zero", mask(np.arange(60))), attribute("bundle", mask(np.arange(60, 140)))])
    assert [[one.key for one in part.attributes] for part in parts] == [["zero"], ["bundle"]]
    assert [(part.inside, part.group) for part in parts] == [(60, 100), (40, 40)]


def test_a_second_attribute_joins_where_it_sharpens() -> None:
    """All of the group lie in a bundle of 700 and are short; of the bundle's others only a third are."""
    group = mask(np.arange(140))
    bundle = attribute("bundle", mask(np.arange(700)))
    short = attribute("short", mask([*range(300), *range(2000, 2900)]), why=False)
    same = attribute("again", mask(np.arange(690)), why=False)
    (part,) = explain(group, [bundle, short, same])
    assert {one.key for one in part.attributes} == {"bundle", "short"}
    assert (part.inside, part.elsewhere) == (140, 160)


def test_no_cause_is_invented() -> None:
    """Random groups and random attributes, a hundred of them each: by chance some fit, and none is told."""
    rng = np.random.default_rng(7)
    for _ in range(40):
        group = mask(rng.choice(N, rng.integers(3, 400), replace=False))
        attributes = [attribute(str(at), rng.random(N) < rng.uniform(0.001, 0.6)) for at in range(100)]
        assert explain(group, attributes) == []


@pytest.mark.parametrize("seed", range(12))
def test_random_verdicts_have_no_cause(seed: int) -> None:
    """Norms, ids and texts as a vocabulary has them, clusters and bytes too; verdicts drawn from a hat."""
    rng = np.random.default_rng(seed)
    findings = [Finding(token, "byte") for token in range(100, 300)]
    findings += [Finding(token, "bundle", group=500) for token in range(500, 900)]
    verdicts = verdicts_of(rng.choice(N, 3 + 40 * seed, replace=False), findings)
    (cause,) = verdicts.causes
    assert cause.parts == ()
    assert cause.sentence == (
        f"{3 + 40 * seed} unspeakable: nothing that was looked at is much more frequent among them than elsewhere."
    )


def test_the_sentence_of_a_bundle_of_short_rows() -> None:
    """As in the data that asked for it: all short rows of one bundle, and most of the bundle is speakable."""
    rng = np.random.default_rng(0)
    bundle = rng.choice(N, 1043, replace=False)
    norm = rng.lognormal(1.0, 0.3, N)
    norm[bundle[:140]] = rng.uniform(0.1, 0.2, 140)
    norm[bundle[140:]] = rng.uniform(0.15, 3.0, 903)
    verdicts = verdicts_of(bundle[:140], [Finding(int(t), "bundle", group=0) for t in bundle], norm=norm)
    (cause,) = verdicts.causes
    others = int((norm[bundle[140:]] <= norm[bundle[:140]].max()).sum())
    assert cause.sentence == (
        f"140 unspeakable: all 140 are short rows (norm up to 0.2) in one bundle of 1,043 near-parallel rows "
        f"(as are {others} or {100 * others / 3860:.2g} % of the 3,860 others)."
    )
    assert cause.record()["parts"][0]["attributes"] == ["bundle:0", "short-row"]


def test_few_tokens_are_told_one_by_one() -> None:
    verdicts = verdicts_of([7], [Finding(7, "zero-row", "exactly"), Finding(7, "special", "pad (config.json)")])
    assert (
        verdicts.causes[0].sentence == "1 unspeakable: token 7, special (pad (config.json)), row of zeros (exactly)."
    )
    assert verdicts_of([7], []).causes[0].sentence == "1 unspeakable: token 7, of which no category is known."


def test_being_equal_does_not_explain_being_tied() -> None:
    findings = [Finding(t, "equal-row", group=50) for t in range(50, 90)] + [
        Finding(t, "padding") for t in range(50, 90)
    ]
    (cause,) = verdicts_of(np.arange(50, 90), findings, verdict="tied").causes
    assert cause.sentence == "40 tied: all 40 are padding rows, which have no token (none of the 3,960 others)."


def test_tokens_that_were_not_asked_for_do_not_count() -> None:
    unspeakable = np.random.default_rng(3).choice(100, 40, replace=False)
    verdicts = verdicts_of(unspeakable, [Finding(t, "padding") for t in range(200)])
    assert verdicts.causes[0].parts
    table = verdicts.table
    names = table.column("verdict").to_pylist()
    asked = [name if at < 100 else None for at, name in enumerate(names)]
    at = table.schema.get_field_index("verdict")
    table = table.set_column(at, "verdict", pa.array(asked, pa.string()))
    found = Verdicts(RunTables(table, categories=verdicts.tables.categories), Manifest(v=N)).causes
    assert found[0].parts == ()  # all that were asked for are padding rows


def test_without_categories_there_is_no_cause() -> None:
    verdicts = verdicts_of(np.arange(40), [])
    assert Verdicts(RunTables(verdicts.table), Manifest(v=N)).causes == ()


def test_what_a_group_shares() -> None:
    inside = mask(np.arange(30))
    words = [attribute("capital", mask(np.arange(100))), attribute("odd", mask(np.arange(1, N, 2)))]
    assert [one.key for one in shared(inside, words)] == ["capital"]
    assert shared(mask(np.arange(0, N, 97)), words) == ()
