"""The head of a large model costs the bytes of the head, whatever the server does meanwhile."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from local_hub import COMMIT, Fault, LocalHub, Store, point_at, serving
from safetensors import safe_open
from safetensors.torch import save_file
from sparse_models import HEAD_BYTES, D, V, large_llama, write_sparse
from tiny_models import edit_config

from reach.heads import hub, hub_parts
from reach.heads.load import load_head
from reach.heads.weights import StoredTensors
from reach.interference.matrices import _input_embedding
from solvers.errors import BadInput

NOVEL = {"model_type": "novel", "architectures": ["NovelForCausalLM"]}
MOST = HEAD_BYTES + 2 * 10**6
LAST = "model-00006-of-00006.safetensors"
FIRST = "model-00001-of-00006.safetensors"


@pytest.fixture
def pointed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[LocalHub], None]:
    """Points everything that reads from the Hub at a local one, with an empty cache and without waits."""

    def point(local: LocalHub) -> None:
        monkeypatch.setattr(hub_parts, "WAITS", (0.0, 0.0, 0.0))
        point_at(local, monkeypatch, tmp_path / "cache")

    return point


@pytest.fixture
def served(request: pytest.FixtureRequest, tmp_path: Path, pointed: Callable[[LocalHub], None]) -> Iterator[LocalHub]:
    """A large model on a local Hub: untied and in shards, unless the test says otherwise."""
    folder = large_llama(tmp_path / "model", **{"tied": False, "shards": True} | getattr(request, "param", {}))
    with serving(folder) as local:
        pointed(local)
        yield local


def served_as(**how: Any) -> Any:
    return pytest.mark.parametrize("served", [how], indirect=True, ids=["-".join(how)])


def every_form(test: Any) -> Any:
    forms = [{"tied": tied, "shards": shards} for tied in (False, True) for shards in (False, True)]
    ids = [f"{'tied' if form['tied'] else 'untied'}, {'shards' if form['shards'] else 'one file'}" for form in forms]
    return pytest.mark.parametrize("served", forms, indirect=True, ids=ids)(test)


def same(served: LocalHub, **options: Any) -> None:
    """The head from the Hub is the one in the folder."""
    far, near = load_head("org/tiny", **options), load_head(str(served.folder))
    assert torch.equal(far.weight, near.weight)
    assert far.gamma is not None
    assert near.gamma is not None
    assert torch.equal(far.gamma, near.gamma)
    assert far.tensors == near.tensors


def complaint(**options: Any) -> str:
    with pytest.raises(BadInput) as caught:
        load_head("org/tiny", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def leftovers(tmp_path: Path) -> list[str]:
    """The unfinished files in the cache."""
    return [path.name for path in (tmp_path / "cache").rglob("*.part")]


# --- how much is fetched -------------------------------------------------------------------------------------------


@every_form
def test_no_more_than_the_head_is_fetched(served: LocalHub) -> None:
    assert sum(path.stat().st_size for path in served.folder.glob("*.safetensors")) > 2 * 10**8
    same(served)
    assert HEAD_BYTES < sum(served.sent.values()) < MOST
    if FIRST in served.sent:
        # The embedding of an untied model stays where it is.
        assert served.sent[LAST] < 2**17
    else:
        assert set(served.sent) & set(served.peeked) in ({LAST}, {"model.safetensors"})


@every_form
def test_nothing_is_fetched_twice(served: LocalHub) -> None:
    same(served)
    sent = sum(served.sent.values())
    same(served)
    assert sum(served.sent.values()) == sent
    asked = served.asked
    same(served, revision=COMMIT)
    assert served.asked == asked


def test_a_new_commit_with_the_same_weights_costs_no_weights(served: LocalHub) -> None:
    same(served)
    sent = sum(served.sent[name] for name in served.peeked)
    served.commit = "f" * 40
    (served.folder / "README.md").write_text("new")
    assert load_head("org/tiny").revision == "f" * 40
    assert sum(served.sent[name] for name in served.peeked) == sent


def test_an_etag_that_is_no_hash_of_the_content_is_good_for_one_commit(served: LocalHub) -> None:
    served.etags = {LAST: "W/same", FIRST: "W/same"}
    same(served)
    path = served.folder / LAST
    write_sparse(path, {"model.norm.weight": torch.ones(D), "lm_head.weight": torch.full((V, D), 2.0)})
    served.commit = "f" * 40
    same(served)
    assert float(load_head("org/tiny").weight[0, 0]) == 2.0


@pytest.mark.parametrize("change", [NOVEL, {"architectures": ["LlamaModel"]}])
@every_form
def test_a_refusal_by_the_config_costs_next_to_nothing(served: LocalHub, change: dict[str, Any]) -> None:
    edit_config(served.folder, **change)
    assert complaint()
    assert sum(served.sent.values()) < 10**6


def test_a_large_index_is_not_fetched_for_a_refusal(served: LocalHub) -> None:
    edit_config(served.folder, **NOVEL)
    path = served.folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"] |= {f"model.layers.0.mlp.experts.{n}.up_proj.weight": FIRST for n in range(50_000)}
    path.write_text(json.dumps(index))
    assert "unknown architecture novel" in complaint()
    assert sum(served.sent.values()) < 10**6


def test_integers_are_fetched_too_where_they_are_asked_for(served: LocalHub) -> None:
    path = served.folder / LAST
    tensors = {"lm_head.qweight": torch.arange(12, dtype=torch.int32).reshape(3, 4)}
    path.unlink()
    save_file(tensors, path)
    index = served.folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(tensors, LAST)}))
    stored = StoredTensors(hub.HubFiles("org/tiny"))
    assert torch.equal(stored.raw("lm_head.qweight"), tensors["lm_head.qweight"])
    with pytest.raises(BadInput, match=r"lm_head\.qweight is stored as I32; a head must be one of"):
        stored.read("lm_head.qweight")


def test_a_head_that_is_learnt_costs_no_more(
    served: LocalHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of a class without an entry, from the names of the stored tensors."""
    pytest.importorskip("transformers")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    edit_config(served.folder, model_type="smollm3", architectures=["SmolLM3ForCausalLM"])
    same(served)
    assert sum(served.sent.values()) < MOST


def test_a_header_longer_than_its_first_part(served: LocalHub) -> None:
    tensors = {"model.norm.weight": torch.ones(D), "lm_head.weight": torch.ones(V, D)}
    write_sparse(served.folder / LAST, tensors, padding=10**6)
    same(served)
    assert sum(served.sent.values()) < MOST


def test_two_at_once_fetch_once(served: LocalHub) -> None:
    served.always[LAST] = Fault(sleep=0.05)
    with ThreadPoolExecutor(4) as pool:
        heads = list(pool.map(load_head, ["org/tiny"] * 4))
    assert len({head.problem().fingerprint for head in heads}) == 1
    assert served.sent[LAST] < MOST


def test_another_process_is_waited_for(
    served: LocalHub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(hub_parts, "_BEFORE_SAYING_SO", 0.05)
    folder = tmp_path / "cache" / "models--org--tiny" / "reach" / served.etag(served.folder / LAST)
    folder.mkdir(parents=True)
    with caplog.at_level(logging.WARNING, logger="reach"), ThreadPoolExecutor(1) as pool:
        with FileLock(folder / ".lock"):
            waiting = pool.submit(load_head, "org/tiny")
            for _ in range(500):
                time.sleep(0.02)
                if caplog.records:
                    break
            assert not waiting.done()
        assert waiting.result().v == V
    assert caplog.messages == [f"org/tiny/{LAST} is being fetched by another process, which is waited for"]


def test_other_tensors_are_fetched_when_they_are_asked_for(served: LocalHub) -> None:
    head = load_head("org/tiny")
    embedding = _input_embedding(head)
    assert torch.equal(embedding, _input_embedding(load_head(str(served.folder))))
    assert served.sent[FIRST] >= 4 * V * D


def test_the_cache_serves_without_the_hub(served: LocalHub, tmp_path: Path) -> None:
    same(served)
    served.close()
    asked = served.asked
    same(served, fetch=False)
    assert served.asked == asked


def test_a_cache_without_the_head_says_so(served: LocalHub, tmp_path: Path) -> None:
    same(served)
    for path in (tmp_path / "cache").glob(f"**/*-{(served.folder / LAST).stat().st_size}"):
        path.unlink()
    message = complaint(fetch=False)
    assert f"lm_head.weight of org/tiny/{LAST} is not in the Hub cache; only a model that the command" in message


def test_offline_mode_is_kept(served: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    load_head("org/tiny")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    _http.close_session()
    try:
        same(served)
        served.asked = 0
        served.sent.clear()
        with pytest.raises(BadInput, match="HF_HUB_OFFLINE is set"):
            _input_embedding(load_head("org/tiny"))
        assert served.asked == 0
    finally:
        monkeypatch.undo()
        _http.close_session()


def test_a_whole_file_in_the_hub_cache_wins(served: LocalHub, tmp_path: Path) -> None:
    from huggingface_hub import hf_hub_download

    for name in (LAST, FIRST):
        hf_hub_download("org/tiny", name, endpoint=served.address, cache_dir=tmp_path / "cache")
    served.sent.clear()
    same(served)
    assert served.sent[LAST] == served.sent[FIRST] == 0
    assert served.parts == []


def test_the_parts_go_with_the_repository(served: LocalHub, tmp_path: Path) -> None:
    from huggingface_hub import scan_cache_dir

    same(served)
    found = scan_cache_dir(tmp_path / "cache")
    assert found.warnings == []
    (repository,) = found.repos
    assert (repository.repo_path / "reach").is_dir()
    found.delete_revisions(COMMIT).execute()
    assert not repository.repo_path.exists()


@served_as(tied=False, shards=True)
def test_a_config_that_says_tied_beside_two_matrices(served: LocalHub) -> None:
    """The only case in which both are fetched: nothing else tells whether they are one."""
    edit_config(served.folder, tie_word_embeddings=True)
    assert "lm_head.weight and model.embed_tokens.weight differ (first in row 0)" in complaint()
    path = served.folder / LAST
    with safe_open(served.folder / FIRST, framework="pt") as handle:
        embedding = handle.get_tensor("model.embed_tokens.weight")
    write_sparse(path, {"model.norm.weight": torch.ones(D), "lm_head.weight": embedding})
    served.commit = "f" * 40
    assert load_head("org/tiny").tie == "tied: lm_head.weight equals model.embed_tokens.weight"


# --- servers that do not do as they should -------------------------------------------------------------------------


def test_broken_transfers_are_gone_on_with(served: LocalHub) -> None:
    """Each break costs nothing of what had come before it."""
    served.faults[LAST] = [None, *(Fault(after=10**6) for _ in range(3))]
    same(served)
    assert sum(served.sent.values()) < MOST
    starts = [start for name, start, _ in served.parts if name == LAST]
    assert len(starts) == 6
    assert starts[1:5] == sorted(set(starts[1:5]))


def test_a_transfer_that_was_given_up_is_gone_on_with_by_the_next_command(served: LocalHub, tmp_path: Path) -> None:
    served.faults[LAST] = [None, Fault(after=2 * 10**6), *(Fault(after=0) for _ in range(3))]
    message = complaint()
    assert message.startswith(f"org/tiny/{LAST}: lm_head.weight could not be fetched: the transfer broke off 4 times")
    assert "run the command again to go on from byte " in message
    assert len(leftovers(tmp_path)) == 1
    same(served)
    assert leftovers(tmp_path) == []
    assert sum(served.sent.values()) < MOST


@pytest.mark.parametrize("how", ["interrupt", "kill"])
def test_an_interrupted_transfer_leaves_nothing_that_could_be_taken_for_whole(
    served: LocalHub, how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original, came = hub_parts.stream, 0

    def interrupted(*arguments: Any) -> Iterator[bytes]:
        nonlocal came
        for chunk in original(*arguments):
            came += len(chunk)
            yield chunk
            if came > 10**6:
                raise KeyboardInterrupt

    monkeypatch.setattr(hub_parts, "stream", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_head("org/tiny")
    monkeypatch.setattr(hub_parts, "stream", original)
    (partial,) = (tmp_path / "cache").rglob("*.part")
    assert partial.stat().st_size > 10**5
    if how == "kill":
        # Longer than it can be: it is begun again.
        partial.write_bytes(bytes(HEAD_BYTES * 2))
    same(served)
    assert leftovers(tmp_path) == []


def test_busy_servers_are_asked_again(served: LocalHub) -> None:
    served.faults[LAST] = [
        Fault(status=503),
        Fault(status=429, headers={"Retry-After": "0"}),
        None,
        Fault(status=500),
    ]
    same(served)


def test_a_slow_server_is_given_up_in_the_end(served: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    served.always[LAST] = Fault(sleep=0.6)
    message = complaint()
    assert "could not be fetched: the transfer broke off 4 times, at last because: ReadTimeout" in message


def test_a_server_without_ranges_is_said_to_be_one_and_works(
    served: LocalHub, caplog: pytest.LogCaptureFixture
) -> None:
    served.serves_parts = False
    with caplog.at_level(logging.WARNING, logger="reach"):
        write_sparse(
            served.folder / LAST,
            {"model.norm.weight": torch.ones(D), "lm_head.weight": torch.ones(V, D), "x": (1000, 2000)},
        )
        same(served)
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("reach")]
    assert line == f"org/tiny: {LAST} is fetched whole (13 MB): the server gives no parts of it"
    assert served.sent[FIRST] == 0


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(status=416), "416 for the bytes 0 to "),
        (Fault(headers={"Content-Range": "bytes 5-9/20"}), "the range bytes 5-9/20 where bytes 0-"),
        (Fault(headers={"Content-Range": "bytes 0-9/20"}), "the range bytes 0-9/20 where bytes 0-"),
        (Fault(headers={"Content-Range": "lines 1-2"}), "in a form that was not asked for (lines 1-2, identity)"),
        (Fault(headers={"Content-Encoding": "gzip"}), "in a form that was not asked for"),
        (Fault(extra=100), "more bytes than the"),
        (Fault(status=418), "418 for the bytes"),
        (Fault(length=50), "at last because: the answer ended"),
        (Fault(after=1), "the transfer broke off 4 times"),
        (Fault(status=404), "at last because: the server answered 404"),
        (Fault(status=401), "at last because: the server answered 401"),
        (Fault(status=502), "at last because: the server answered 502"),
    ],
    ids=["416", "another range", "another size", "odd range", "packed", "longer", "418", "shorter", "breaks", "404",
         "401", "502"],
)  # fmt: skip
def test_every_wrong_answer_is_one_line(served: LocalHub, fault: Fault, expected: str, tmp_path: Path) -> None:
    served.always[LAST] = fault
    message = complaint()
    assert message.startswith(f"org/tiny/{LAST}: header could not be fetched: ")
    assert expected in message
    del served.always[LAST]
    same(served)


def test_another_file_at_the_same_commit_is_refused(served: LocalHub) -> None:
    served.faults[LAST] = [None, Fault(after=10**6), *(Fault(after=0) for _ in range(3))]
    assert "broke off" in complaint()
    served.etags[LAST] = "e" * 64
    served.faults.clear()
    message = complaint()
    assert "it is another file now" in message
    assert "than the one that was seen at this commit before" in message


@served_as(tied=True, shards=False)
def test_a_full_disk(served: LocalHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hub_parts.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**5}))
    assert "bytes are to be fetched, but the disk of " in complaint()
    monkeypatch.undo()


def test_a_cache_that_cannot_be_written(served: LocalHub, tmp_path: Path) -> None:
    served.always[LAST] = Fault(status=503)
    complaint()
    (folder,) = (tmp_path / "cache").glob("*/reach")
    shutil.rmtree(folder)
    folder.write_bytes(b"in the way")
    message = complaint()
    assert message.startswith(f"{folder}/{COMMIT}: cannot be written: ")
    assert message.endswith("see to that, or choose another place with HF_HOME")


# --- tokens, redirects, names --------------------------------------------------------------------------------------


def test_a_token_goes_to_the_hub_and_nowhere_else(served: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(served)
    served.token = "hf_secret"
    assert "org/tiny on the Hub is gated: accept its terms there" in complaint()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    same(served)
    assert store.tokens == []
    assert sum(served.sent.values()) < MOST


def test_the_environment_is_that_of_every_program_that_uses_the_hub(served: LocalHub, tmp_path: Path) -> None:
    """A mirror, a token, and a place for the cache."""
    served.token = "hf_secret"
    home = tmp_path / "home"
    given = {"HF_ENDPOINT": served.address, "HF_TOKEN": "hf_secret", "HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "from reach.heads.load import load_head; print(load_head('org/tiny').v)"],
        env={name: value for name, value in os.environ.items() if not name.startswith("HF_")} | given,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{V}\n"
    assert sum(served.sent.values()) < MOST
    assert len(list(home.glob("hub/models--org--tiny/reach/*"))) >= 2


def test_a_signed_address_that_expires_is_asked_for_again(served: LocalHub) -> None:
    store = Store(served)
    served.faults[LAST] = [None, Fault(after=10**6)]
    original = served.send_file

    def expiring(request: Any, path: Path, headers: dict[str, str], with_body: bool) -> None:
        original(request, path, headers, with_body)
        if len(served.parts) == 2:
            store.key = 2

    served.send_file = expiring  # type: ignore[method-assign]
    same(served)
    assert store.key == 2
    assert sum(served.sent.values()) < MOST


def test_a_renamed_repository(served: LocalHub, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="reach"):
        head = load_head("org/old")
        load_head("org/old")
    said = [record.getMessage() for record in caplog.records if record.name.startswith("reach")]
    assert said == ["org/old is called org/tiny on the Hub now"]
    assert torch.equal(head.weight, load_head(str(served.folder)).weight)
    assert sum(served.sent.values()) < MOST


def test_no_network_after_the_config(served: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The config is in the cache, nothing of the weights is."""
    served.always[LAST] = Fault(status=503)
    complaint()
    monkeypatch.setattr(hub_parts, "WAITS", (100.0,))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        served.address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    assert "is not in the Hub cache while the Hub cannot be reached" in complaint()


# --- headers that lie ----------------------------------------------------------------------------------------------


def _header(text: bytes | dict[str, Any], length: int | None = None, data: int = 0) -> bytes:
    content = text if isinstance(text, bytes) else json.dumps(text).encode()
    return (len(content) if length is None else length).to_bytes(8, "little") + content + bytes(data)


def _entry(*offsets: int, dtype: str = "F32", shape: tuple[int, ...] = (2, 2)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


LIES = {
    "nothing": (b"", "too few for any header"),
    "seven bytes": (b"1234567", "too few for any header"),
    "a header longer than the file": (_header({}, 1000), "is said to take 1000 bytes, but the whole file has"),
    "a header of terabytes": (_header({}, 2**62), "is said to take 4611686018427387904 bytes, but at most"),
    "no JSON": (_header(b"{{{"), "its header is not readable"),
    "deep JSON": (_header(b"[" * 50_000), "its header is not readable"),
    "a list": (_header(b"[]"), "its header is not readable"),
    "negative": (_header({"lm_head.weight": _entry(-4, 12)}, data=16), "its header is not readable"),
    "huge": (_header({"lm_head.weight": _entry(0, 10**30)}, data=16), "its header is not readable"),
    "no dtype": (_header({"lm_head.weight": {"shape": [2], "data_offsets": [0, 8]}}, data=8), "not readable"),
    "overlapping": (_header({"a": _entry(0, 16), "lm_head.weight": _entry(8, 24)}, data=24), "overlaps"),
    "a hole": (_header({"a": _entry(0, 16), "lm_head.weight": _entry(20, 36)}, data=36), "hole"),
    "backwards": (_header({"lm_head.weight": _entry(16, 0)}, data=16), "overlaps"),
    "a tensor of terabytes": (
        _header({"lm_head.weight": _entry(0, 4 * 10**12, shape=(10**6, 10**6))}, data=16),
        "its tensors end at byte 40000000",
    ),
    "another size": (_header({"lm_head.weight": _entry(0, 16, shape=(2, 3))}, data=16), "is not 2×3 of F32"),
    "cut off": (_header({"lm_head.weight": _entry(0, 16)}, data=10), "its tensors end at byte"),
    "something behind": (_header({"lm_head.weight": _entry(0, 16)}, data=20), "its tensors end at byte"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
@served_as(tied=True, shards=False, layers=0)
def test_headers_that_lie(served: LocalHub, lie: str) -> None:
    """On the Hub and in a folder: one line, and little memory; and once it is mended, it is read."""
    content, expected = LIES[lie]
    good = (served.folder / "model.safetensors").read_bytes()
    served.etags["model.safetensors"] = "W/never changes"
    (served.folder / "model.safetensors").write_bytes(content)
    tracemalloc.start()
    message = complaint()
    with pytest.raises(BadInput) as near:
        load_head(str(served.folder))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message.startswith("org/tiny/model.safetensors is truncated or damaged (")
    assert expected in message
    assert str(near.value).startswith(f"{served.folder}/model.safetensors is truncated or damaged (")
    assert "\n" not in str(near.value)
    assert peak < 2**25
    (served.folder / "model.safetensors").write_bytes(good)
    served.commit = "f" * 40
    same(served)
