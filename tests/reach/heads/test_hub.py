"""Heads from the Hub, through the real client, against a local server that speaks the Hub's protocol."""

from __future__ import annotations

import builtins
import errno
import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from local_hub import COMMIT, Fault, LocalHub, point_at, serving
from tiny_adapters import low_rank, save_adapter
from tiny_models import D, V, build, edit_config, edit_tensors

from reach.cli import main
from reach.heads import hub, hub_parts
from reach.heads.load import load_head
from reach.vocabulary import load_vocabulary
from solvers.errors import BadInput, MissingExtra

TOKENIZER = '{"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1}, "unk_token": "a"}}'


@pytest.fixture
def served(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """An untied Llama, sharded unless the test asks for one file, on a local Hub, with an empty cache."""
    folder = build("llama", tmp_path / "model", tied=False, shards=getattr(request, "param", True))
    (folder / "tokenizer.json").write_text(TOKENIZER)
    (folder / "pytorch_model.bin").write_bytes(b"never")
    monkeypatch.setattr(hub_parts, "WAITS", (0.0, 0.0, 0.0))
    with serving(folder) as local:
        point_at(local, monkeypatch, tmp_path / "cache")
        yield local


def complaint(model: str, **options: str) -> str:
    with pytest.raises(BadInput) as caught:
        load_head(model, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_only_what_the_head_needs_is_fetched(served: LocalHub) -> None:
    head = load_head("org/tiny")
    local = load_head(str(served.folder))
    assert torch.equal(head.weight, local.weight)
    assert head.problem().fingerprint == local.problem().fingerprint
    assert head.revision == COMMIT
    all_shards = {path.name for path in served.folder.glob("model-*.safetensors")}
    assert len(all_shards) >= 5
    assert len(set(served.peeked)) <= 2
    assert set(served.peeked) < all_shards
    assert set(served.fetched) == {"config.json", "model.safetensors.index.json", "tokenizer.json"}
    assert "not compared with model.embed_tokens.weight" in head.tie


def test_the_tokenizer_comes_along(served: LocalHub) -> None:
    head = load_head("org/tiny")
    assert load_vocabulary(head.folder, head.v).pieces[:3] == ["a", "b", None]


@pytest.mark.parametrize("name", ["tekken.json", "tiktoken.model", "qwen.tiktoken", "rwkv_vocab_v20230424.txt"])
def test_tokenizers_of_other_kinds_come_along(served: LocalHub, name: str) -> None:
    (served.folder / "tokenizer.json").rename(served.folder / name)
    folder = load_head("org/tiny").folder
    assert folder is not None
    assert (folder / name).read_text() == TOKENIZER


def test_a_commit_in_the_cache_needs_no_server(served: LocalHub) -> None:
    """What the commit does not have (model.safetensors) is remembered too."""
    first = load_head("org/tiny", revision=COMMIT)
    asked = served.asked
    again = load_head("org/tiny", revision=COMMIT)
    assert served.asked == asked
    assert torch.equal(first.weight, again.weight)


def test_no_such_repository(served: LocalHub) -> None:
    assert "org/absent: no such local folder and no such repository on the Hub" in complaint("org/absent")


def test_a_gated_repository(served: LocalHub) -> None:
    assert "org/gated on the Hub is gated: accept its terms there" in complaint("org/gated")


def test_no_such_revision(served: LocalHub) -> None:
    assert complaint("org/tiny", revision="v9") == "org/tiny on the Hub has no revision v9: give another"


def test_a_repository_without_config(served: LocalHub) -> None:
    (served.folder / "config.json").unlink()
    assert "org/tiny on the Hub has no config.json" in complaint("org/tiny")


def test_a_repository_without_weights(served: LocalHub) -> None:
    (served.folder / "model.safetensors.index.json").unlink()
    (served.folder / "pytorch_model.bin").unlink()
    assert "org/tiny has neither model.safetensors nor model.safetensors.index.json" in complaint("org/tiny")


def test_a_shard_that_the_repository_lacks(served: LocalHub) -> None:
    for path in served.folder.glob("model-*.safetensors"):
        path.unlink()
    assert "which model.safetensors.index.json names for lm_head.weight, is missing" in complaint("org/tiny")


def test_no_network(served: LocalHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
    from huggingface_hub import file_download

    # The client waits between its retries; a closed port stays closed.
    monkeypatch.setattr(file_download, "_DEFAULT_RETRY_ON_EXCEPTIONS", (), raising=False)
    with pytest.raises(BadInput) as caught:
        original = hub.HubFiles.__new__(hub.HubFiles)
        original._repo, original._endpoint, original._cache = "org/tiny", nowhere, tmp_path / "empty"
        original._fetch("config.json", None)
    assert "\n" not in str(caught.value)
    assert "config.json is not in the Hub cache while the Hub cannot be reached" in str(caught.value)


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = hub.find_spec
    monkeypatch.setattr(hub, "find_spec", lambda name: None if name == "huggingface_hub" else found(name))
    with pytest.raises(MissingExtra, match="pip install huggingface_hub"):
        load_head("org/tiny")


def test_a_local_model_needs_no_hub_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build("llama", tmp_path)
    original = builtins.__import__

    def guarded(name: str, *rest: object, **more: object) -> object:
        assert name.partition(".")[0] not in {"huggingface_hub", "transformers"}
        return original(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", guarded)
    assert load_head(str(folder)).v == 60


# --- a run that somebody else made ---------------------------------------------------------------------------------


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that anything tried to reach, which nothing does."""
    asked: list[str] = []

    def refuse(address: object) -> None:
        asked.append(str(address))
        raise OSError(errno.ENETUNREACH, "no network in this test")

    monkeypatch.setattr(socket.socket, "connect", lambda _, address: refuse(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: refuse(address))
    return asked


def reach(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    found = capsys.readouterr()
    return int(ended.value.code or 0), found.out, found.err


@pytest.fixture
def run(served: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A scan of a model that its manifest knows by its Hub id."""
    folder = tmp_path / "run"
    assert reach(capsys, "scan", "org/tiny", "--out", folder, "--quiet", "--no-report")[0] == 0
    assert json.loads((folder / "manifest.json").read_text())["loading"]["model"] == "org/tiny"
    return folder


def test_verify_asks_the_hub_only_for_a_model_that_was_named(
    run: Path, served: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = served.asked
    code, out, err = reach(capsys, "verify", run, "--quiet")
    assert (code, out) == (2, "")
    assert err == (
        f"reach: {run}: its model is org/tiny: no such folder or file here; say where it is with --model PATH, or "
        "give its Hub id with --model to fetch it\n"
    )
    assert served.asked == asked
    code, out, _ = reach(capsys, "verify", run, "--model", "org/tiny", "--json")
    assert code == 0
    assert json.loads(out)["about"] | {"revision": COMMIT, "own_head": True} == json.loads(out)["about"]
    assert served.asked > asked
    assert reach(capsys, "verify", run, "--model", served.folder, "--quiet")[0] == 0


def test_the_revision_of_a_manifest_counts_for_nothing(
    run: Path, served: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    """A branch of the right repository may hold anything; a copy on this machine has none."""
    file = run / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["loading"]["revision"] = "refs/pr/1"
    file.write_text(json.dumps(manifest))
    for model in ("org/tiny", served.folder):
        assert reach(capsys, "verify", run, "--model", model, "--quiet")[0] == 0
    code, _, err = reach(capsys, "verify", run, "--model", "org/tiny", "--revision", "refs/pr/1")
    assert code == 2
    assert "org/tiny on the Hub has no revision refs/pr/1" in err


def test_a_received_run_sends_nobody_to_the_hub(
    run: Path, nobody: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What the cache holds is used; the rest is not fetched for the sake of a name in a file."""
    assert reach(capsys, "verify", run, "--quiet")[0] == 2
    code, _, err = reach(capsys, "search", "--run", run, "--quiet")
    assert code == 2
    assert "org/tiny: AutoModelForCausalLM cannot load it" in err
    assert "only its files in the Hub cache were looked at: name the model on the command line" in err
    small = ("--seeds", 0, "--without", "dictionary,reinitialised,controls,blocks", "--quiet")
    assert reach(capsys, "interference", "--out", run, *small)[0] == 0
    shutil.rmtree(tmp_path / "cache")
    for command in (("interference", "--out", run, "--force"), ("search", "--run", run)):
        code, _, err = reach(capsys, *command, "--quiet")
        assert code == 2
        assert "org/tiny: no such folder or file, and config.json is not in the Hub cache; only a model that" in err
    assert nobody == []


def test_these_tests_would_see_the_hub_being_asked(nobody: list[str]) -> None:
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("huggingface.co", 443), timeout=1)
    assert nobody


# --- decided before any weights come down ---------------------------------------------------------------------------

one_file = pytest.mark.parametrize("served", [False], indirect=True, ids=["one file"])


def weights_of(served: LocalHub) -> list[str]:
    """The files of weights that were sent whole."""
    return [name for name in served.fetched if name.endswith((".safetensors", ".bin"))]


@one_file
def test_the_names_come_before_the_file(served: LocalHub) -> None:
    head = load_head("org/tiny")
    assert head.problem().fingerprint == load_head(str(served.folder)).problem().fingerprint
    # The header, and the two tensors of the head.
    assert served.peeked == ["model.safetensors"] * 3
    load_head("org/tiny")
    assert served.peeked == ["model.safetensors"] * 3
    assert weights_of(served) == []


@one_file
def test_a_hub_that_serves_no_parts_of_files(served: LocalHub) -> None:
    served.serves_parts = False
    assert load_head("org/tiny").v == V
    assert served.parts == []
    # Once for the part that was asked for and not given, and once because it was asked for.
    assert weights_of(served) == ["model.safetensors"] * 2
    load_head("org/tiny")
    assert weights_of(served) == ["model.safetensors"] * 2


@one_file
def test_a_command_says_beforehand_what_it_fetches_whole(
    served: LocalHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served.serves_parts = False
    monkeypatch.setattr(hub, "LARGE", 10**4)
    _, _, err = reach(capsys, "scan", "org/tiny", "--out", tmp_path / "run", "--quiet", "--no-report")
    line = "reach: note: org/tiny: model.safetensors is fetched whole (0 MB): the server gives no parts of it\n"
    assert err.count(line) == 1
    # Before whatever else is said of the model.
    assert err.index(line) == err.index("reach: ")


@one_file
@pytest.mark.parametrize("quiet", [False, True], ids=["loud", "quiet"])
def test_bars_for_what_is_fetched_slowly(
    served: LocalHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quiet: bool
) -> None:
    monkeypatch.setattr(hub_parts, "in_a_terminal", lambda: True)
    # Other tests have transformers switch them off.
    monkeypatch.setattr("huggingface_hub.utils.are_progress_bars_disabled", lambda: False)
    served.always["model.safetensors"] = Fault(sleep=0.2)
    options = ["--quiet"] if quiet else []
    _, _, err = reach(capsys, "scan", "org/tiny", "--out", tmp_path / "run", "--no-report", *options)
    assert ("model.safetensors: lm_head.weight: 100%" in err) is not quiet


@pytest.mark.parametrize("served", [False, True], indirect=True, ids=["one file", "shards"])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "novel", "architectures": ["NovelForCausalLM"]}, "unknown architecture novel"),
        ({"architectures": ["LlamaModel"]}, "LlamaModel is a model without a head"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "has no head over the vocabulary"),
        ({"quantization_config": {"quant_method": "gptq", "lm_head": True}}, "the head is quantised"),
        ({"tie_word_embeddings": "yes"}, "must be true or false"),
    ],
    ids=["unknown", "bare layers", "classifier", "quantised", "neither tied nor not"],
)
def test_what_the_config_rules_out_costs_no_weights(
    changes: dict[str, object], reason: str, served: LocalHub
) -> None:
    edit_config(served.folder, **changes)
    assert reason in complaint("org/tiny")
    assert weights_of(served) == []
    assert "tokenizer.json" not in served.fetched


@pytest.mark.parametrize("served", [False, True], indirect=True, ids=["one file", "shards"])
def test_an_unknown_architecture_still_says_what_is_stored(served: LocalHub) -> None:
    edit_config(served.folder, model_type="novel", architectures=["NovelForCausalLM"])
    assert "of which lm_head.weight, model.embed_tokens.weight is stored" in complaint("org/tiny")
    assert weights_of(served) == []


@one_file
@pytest.mark.parametrize(
    ("end", "reason"),
    [(".qweight", "stores its head as lm_head.qweight"), (".weight_scale", "lm_head.weight is not what the model")],
)
def test_what_the_names_rule_out_costs_no_weights(end: str, reason: str, served: LocalHub) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[f"lm_head{end}"] = torch.ones(2)
        if end == ".qweight":
            del tensors["lm_head.weight"]

    edit_tensors(served.folder, change)
    assert reason in complaint("org/tiny")
    assert weights_of(served) == []


def test_a_missing_head_of_a_sharded_model_costs_no_weights(served: LocalHub) -> None:
    path = served.folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    del index["weight_map"]["lm_head.weight"]
    path.write_text(json.dumps(index))
    assert "has no output matrix" in complaint("org/tiny")
    assert weights_of(served) == []


def test_an_adapter_on_the_head_costs_no_weights(served: LocalHub) -> None:
    """Its config aims elsewhere; its tensors' names, which come first, tell."""
    save_adapter(served.folder, low_rank("lm_head", V, D))
    assert "changes its head" in complaint("org/tiny")
    assert weights_of(served) == []
    merged = load_head("org/tiny", adapter="merge")
    assert merged.problem().fingerprint == load_head(str(served.folder), adapter="merge").problem().fingerprint
    assert "adapter_model.safetensors" in served.peeked


def test_an_adapter_repository(served: LocalHub) -> None:
    (served.folder / "config.json").unlink()
    save_adapter(served.folder, low_rank("lm_head", V, D))
    assert complaint("org/tiny").startswith("org/tiny holds an adapter of org/base and no model")
    assert weights_of(served) == []


@one_file
def test_a_cache_that_says_nothing_of_an_adapter_serves_without_the_hub(
    served: LocalHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As other programs leave it: they ask for the model's files only."""
    from huggingface_hub import file_download

    monkeypatch.setattr(file_download, "_DEFAULT_RETRY_ON_EXCEPTIONS", (), raising=False)
    first = load_head("org/tiny")
    (absent,) = (tmp_path / "cache").glob("**/.no_exist/*/adapter_config.json")
    absent.unlink()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        served.address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    again = load_head("org/tiny")
    assert again.problem().fingerprint == first.problem().fingerprint
    assert again.notes == (
        "org/tiny/adapter_config.json is not in the Hub cache, and the Hub cannot be asked whether it exists",
    )
    assert "adapter_config.json is not in the Hub cache" in complaint("org/tiny", adapter="merge")
