"""Categories from the scan to the run folder, and from there to summary, export and earlier runs."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reach_command import reach
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import reach as package
from reach.runs.folder import RunFolder
from reach.runs.manifest import CategoryRecord
from reach.runs.schema import CATEGORIES

ROWS, TOKENS, D = 160, 128, 16


def model(folder: Path, padding: str) -> Path:
    """A Llama head of 128 tokens, padded with 32 rows of a kind."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((ROWS, D)).astype(np.float32)
    if padding != "random":
        rows[TOKENS:] = {"zero": 0 * rows[:1], "mean": rows[:TOKENS].mean(axis=0), "copied": rows[: ROWS - TOKENS]}[
            padding
        ]
    names = {"model.embed_tokens.weight": rows, "lm_head.weight": rows, "model.norm.weight": np.ones(D, np.float32)}
    save_file(names, folder / "model.safetensors")
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": ROWS, "hidden_size": D,
        "eos_token_id": 1, "rms_norm_eps": 1e-6,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer(models.BPE({chr(0x4E00 + n): n for n in range(TOKENS)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Whitespace(), decoders.Fuse()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def padded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of zeros, and no bias: they are in the hull of the others."""
    return model(tmp_path_factory.mktemp("padded"), "zero")


@pytest.mark.parametrize(
    ("padding", "said"),
    [
        ("mean", "32 unspeakable: all 32 are padding rows, which have no token (none of the 128 others)."),
        ("copied", "64 tied: 32 of 64 are padding rows, which have no token (none of the 96 others);"),
        ("random", None),
    ],
)
def test_each_kind_of_padding_is_told_by_what_it_does(tmp_path: Path, padding: str, said: str | None) -> None:
    """Random rows are as speakable as any, and then padding is the cause of nothing."""
    verdicts = package.scan(model(tmp_path, padding))
    sentences = [cause.sentence for cause in verdicts.causes]
    if said is None:
        assert not len(verdicts.unspeakable) + len(verdicts.tied)
        assert not any("padding" in one for one in sentences)
    else:
        assert [one.startswith(said) for one in sentences] == [True]
    assert all(verdicts[t].categories[0].category == "padding" for t in range(TOKENS, ROWS))


def test_a_constant_in_every_row_changes_no_category(tmp_path: Path) -> None:
    """All-negative rows that were healthy before: nothing is parallel, near or untrained for that."""
    rows = np.random.default_rng(1).standard_normal((200, 24))
    shifted = rows - rows.max() - 1
    assert (shifted < 0).all()
    plain, below = (package.scan({"W": one.astype(np.float32), "norm": "rmsnorm"}) for one in (rows, shifted))
    assert plain.tables.categories is not None and below.tables.categories is not None
    assert below.tables.categories.equals(plain.tables.categories)
    assert not any(part for cause in below.causes for part in cause.parts if cause.of == "unspeakable")


@pytest.fixture(scope="module")
def run(padded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    outcome = reach("scan", padded, "--out", out, "--quiet", "--no-report")
    assert outcome.code == 0, outcome.err
    told = " ".join(outcome.out.split())
    assert "32 unspeakable: all 32 are padding rows, which have no token (none of the 128 others)." in told
    return out


def test_padding_rows_are_the_cause(run: Path) -> None:
    verdicts = package.open(run)
    assert verdicts.unspeakable.tolist() == list(range(TOKENS, ROWS))
    (cause,) = verdicts.causes
    assert [one.key for part in cause.parts for one in part.attributes] == ["padding"]
    kinds = [one.category for one in verdicts[TOKENS].categories]
    assert kinds == ["padding", "zero-row", "equal-row"]
    assert verdicts[1].categories[0].detail == "eos (config.json: eos_token_id)"


def test_the_table_is_written_and_read_by_one_schema(run: Path) -> None:
    assert pq.read_table(run / "categories.parquet").schema.equals(CATEGORIES)
    about = RunFolder.open(run).record.categories
    assert isinstance(about, CategoryRecord)
    assert about.indicators is not None
    assert about.indicators.unused == ROWS - TOKENS


def test_exports_hold_categories_and_evidence(run: Path) -> None:
    (entry,) = (one for one in json.loads(reach("export", run, "--json").out) if one["token_id"] == TOKENS)
    assert entry["categories"] == ["padding", "zero-row", "equal-row"]
    assert entry["category_evidence"].startswith("padding; zero-row: exactly; equal-row: 32 tokens have this row and")
    rows = list(csv.DictReader(io.StringIO(reach("export", run, "--csv").out)))
    assert rows[TOKENS]["categories"] == "padding zero-row equal-row"
    assert rows[0]["categories"] == rows[0]["category_evidence"] == ""


def test_json_says_what_the_terminal_says(padded: Path, tmp_path: Path) -> None:
    found = json.loads(reach("scan", padded, "--out", tmp_path / "run", "--json", "--no-report").out)
    (cause,) = found["causes"]
    assert cause["of"] == "unspeakable"
    assert cause["parts"][0]["attributes"] == ["padding"]
    assert cause["parts"][0]["inside"] == cause["tokens"] == 32
    token = next(one for one in found["tokens"] if one["token_id"] == TOKENS)
    assert [one["category"] for one in token["categories"]] == ["padding", "zero-row", "equal-row"]


def test_saved_from_memory_they_are_the_same(padded: Path, run: Path, tmp_path: Path) -> None:
    package.scan(padded).save(tmp_path / "again")
    tables = [pq.read_table(folder / "categories.parquet") for folder in (run, tmp_path / "again")]
    assert tables[0].equals(tables[1])


def test_a_run_without_the_table_is_read_as_before(run: Path, tmp_path: Path) -> None:
    old = shutil.copytree(run, tmp_path / "old")
    (old / "categories.parquet").unlink()
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["categories"]
    (old / "manifest.json").write_text(json.dumps(manifest))
    verdicts = package.open(old)
    assert verdicts.categories is None
    assert verdicts.causes == ()
    assert verdicts[TOKENS].categories == ()
    assert reach("verify", old, "--quiet").code == 0
    assert reach("report", old).code == 0
    assert "What the tokens are" not in (old / "report.html").read_text(encoding="utf-8")
    assert json.loads(reach("export", old, "--json").out)[0]["categories"] is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"token_id": ROWS}, "names what is not one of the tokens"),
        ({"others": [ROWS + 7]}, "names what is not one of the tokens"),
        ({"category": "haunted"}, "unknown category 'haunted'"),
    ],
)
def test_a_table_that_cannot_be_is_one_line_and_no_broken_proof(
    run: Path, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    bad = shutil.copytree(run, tmp_path / "bad")
    rows = pq.read_table(bad / "categories.parquet").to_pylist()
    rows[3] |= change
    pq.write_table(pa.Table.from_pylist(rows, schema=CATEGORIES), bad / "categories.parquet")
    assert said in reach("report", bad).complaint
    assert reach("verify", bad, "--quiet").code == 0


def test_a_forced_run_leaves_no_old_categories(run: Path, padded: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "run")
    before = pq.read_table(out / "categories.parquet").num_rows
    assert reach("scan", padded, "--tokens", "0-9", "--out", out, "--force", "--quiet", "--no-report").code == 0
    assert (
        pq.read_table(out / "categories.parquet").num_rows == before
    )  # what tokens are does not hang on the question
    assert package.open(out).causes == ()  # all ten are own-direction


def test_settings_with_tokenizers_longest_text_are_read() -> None:
    """transformers writes 10³⁰ for a tokenizer without a longest text."""
    from reach.bounded import parse_json

    assert (
        parse_json('{"model_max_length": 1000000000000000019884624838656}', "f", again="")["model_max_length"] > 1e29
    )
