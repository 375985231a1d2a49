"""Run folders at URLs: what is there at every moment, what a person is told, and what a run there is worth."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from far_away import FarAway, Killed
from reach_command import reach, save_head

import reach as library
from reach.names import command_line, without_credentials
from reach.runs.contents import LISTED
from reach.runs.lock import locked
from reach.runs.mirror import cache_folder, mirrored
from reach.runs.remote import RemoteFolder, is_url
from reach.runs.store import Store
from solvers.errors import BadInput

RUN = "faraway://bucket/family/run-1"
AT = "bucket/family/run-1"
SCAN = ("scan", "--quiet", "--no-report", "--jobs", 1)


@pytest.fixture(autouse=True)
def _empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    FarAway.clear()
    yield
    FarAway.clear()


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = np.random.default_rng(3).standard_normal((72, 5)) * np.linspace(0.2, 1, 72)[:, None]
    return save_head(tmp_path_factory.mktemp("head") / "head.npz", rows, gamma=np.ones(5))


@pytest.fixture(scope="module")
def here(head: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The tables and witnesses of the same scan in a folder of this machine."""
    run = tmp_path_factory.mktemp("here") / "run"
    assert reach(*SCAN, "--head", head, "--out", run).code == 0
    return results({str(file.relative_to(run)): file.read_bytes() for file in run.rglob("*") if file.is_file()})


def results(files: dict[str, bytes]) -> dict[str, bytes]:
    found = {name: content for name, content in files.items() if name.endswith((".parquet", ".safetensors"))}
    assert "verdicts.parquet" in found
    return found


def manifest() -> dict[str, Any]:
    return json.loads(FarAway.files(AT)["manifest.json"])


def nothing_is_kept(tmp_path: Path) -> bool:
    return not (tmp_path / "cache" / "token-reachability").exists()


# --- what is at the URL ---------------------------------------------------------------------------------------------


def test_a_run_at_a_url_is_that_of_a_folder_byte_by_byte(head: Path, here: dict[str, bytes], tmp_path: Path) -> None:
    done = reach(*SCAN, "--head", head, "--out", RUN)
    assert done.code == 0, done.err
    assert f"run:    {RUN}\n" in done.out
    assert results(FarAway.files(AT)) == here
    assert not [name for name in FarAway.files(AT) if name.startswith(("blocks", "."))]
    assert nothing_is_kept(tmp_path)


def test_the_manifest_comes_last_and_blocks_go_after_it(head: Path) -> None:
    assert reach(*SCAN, "--head", head, "--out", RUN).code == 0
    events = [(what, path.removeprefix(f"/{AT}/")) for what, path in FarAway.events]
    assert events[0] == ("put", "manifest.json")
    end = len(events) - 1 - events[::-1].index(("put", "manifest.json"))
    assert end > 0
    assert {name.partition("/")[0] for _, name in events[end + 1 :]} == {"blocks"}
    assert {what for what, _ in events[end + 1 :]} == {"remove"}
    tables = {name for what, name in events[:end] if what == "put"}
    assert {"verdicts.parquet", "hull_weights.parquet"} <= tables
    assert all(what == "put" for what, _ in events[:end])


def test_killed_after_any_event_it_can_be_gone_on_with(head: Path, here: dict[str, bytes]) -> None:
    assert reach(*SCAN, "--head", head, "--out", RUN).code == 0
    number = len(FarAway.events)
    assert number > 12  # several blocks, several tables, both manifests
    finished = 0
    for last in range(1, number + 1):
        FarAway.clear()
        FarAway.begin(last)
        with pytest.raises(Killed):
            reach(*SCAN, "--head", head, "--out", RUN)
        FarAway.begin()
        if manifest()["status"] == "finished":
            finished += 1
            assert "holds a finished run" in reach(*SCAN, "--head", head, "--out", RUN, "--resume").complaint
        else:
            if last in (1, 5):
                refused = reach(*SCAN, "--head", head, "--out", RUN).complaint
                assert "holds an unfinished run; go on with --resume" in refused
            done = reach(*SCAN, "--head", head, "--out", RUN, "--resume")
            assert done.code == 0, (last, done.err)
            assert not [name for name in FarAway.files(AT) if name.startswith("blocks")]
        assert results({k: v for k, v in FarAway.files(AT).items() if not k.startswith("blocks")}) == here, last
    assert 1 <= finished < number


def test_a_resumed_scan_takes_up_the_blocks_at_the_url(head: Path) -> None:
    FarAway.begin(last=4)
    with pytest.raises(Killed):
        reach(*SCAN, "--head", head, "--out", RUN)
    before = {name for name in FarAway.files(AT) if name.startswith("blocks/")}
    assert len(before) == 3
    FarAway.begin()
    assert reach(*SCAN, "--head", head, "--out", RUN, "--resume").code == 0
    assert manifest()["resumed"] is True
    assert not before & {path.removeprefix(f"/{AT}/") for what, path in FarAway.events if what == "put"}


def forced_and_killed(head: Path, left: dict[str, bytes], last: int) -> None:
    """Scan over what is `left` at the URL, and die after so many things have come or gone there."""
    FarAway.store.clear()
    FarAway.store.update(left)
    FarAway.begin(last)
    with pytest.raises(Killed):
        reach(*SCAN, "--head", head, "--out", RUN, "--force")
    FarAway.begin()


def test_force_killed_after_any_event_mixes_no_settings(head: Path, here: dict[str, bytes]) -> None:
    """An unfinished run with other settings has blocks of its own: they are never taken for those of the new one."""
    other = (*SCAN, "--head", head, "--out", RUN, "--exact")
    FarAway.begin(last=6)
    with pytest.raises(Killed):
        reach(*other)
    FarAway.begin()
    left = dict(FarAway.store)
    assert sum("/blocks/" in name for name in left) == 5
    for last in range(1, 9):
        forced_and_killed(head, left, last)
        if manifest()["settings"]["exact"]:
            assert "has other settings" in reach(*SCAN, "--head", head, "--out", RUN, "--resume").complaint
            assert reach(*other, "--resume").code == 0
        else:
            assert reach(*SCAN, "--head", head, "--out", RUN, "--resume").code == 0
            assert results(FarAway.files(AT)) == here


def test_force_over_a_finished_run_leaves_a_run_at_every_moment(head: Path, here: dict[str, bytes]) -> None:
    assert reach(*SCAN, "--head", head, "--out", RUN, "--exact").code == 0
    left = dict(FarAway.store)
    for last in (1, 2, 3, 5):
        forced_and_killed(head, left, last)
        assert manifest()["status"] == "running"
        assert reach(*SCAN, "--head", head, "--out", RUN, "--resume").code == 0
        assert results(FarAway.files(AT)) == here


def test_foreign_files_are_neither_fetched_nor_removed(head: Path) -> None:
    FarAway.store.clear()
    fs = FarAway()
    fs.pipe_file(f"/{AT}/notes.txt", b"mine")
    fs.pipe_file(f"/{AT}/data/deep/big.bin", b"mine, too")
    assert (
        reach(*SCAN, "--head", head, "--out", RUN).complaint
        == f"{RUN}: holds files, but no run; choose another --out"
    )
    FarAway.clear()
    assert reach(*SCAN, "--head", head, "--out", RUN).code == 0
    fs.pipe_file(f"/{AT}/notes.txt", b"mine")
    fs.pipe_file(f"/{AT}/data/deep/big.bin", b"mine, too")
    assert reach(*SCAN, "--head", head, "--out", RUN, "--force").code == 0
    assert FarAway.files(AT)["notes.txt"] == b"mine"
    assert FarAway.files(AT)["data/deep/big.bin"] == b"mine, too"


def test_names_that_lead_out_of_the_copy_are_left_where_they_are(tmp_path: Path) -> None:
    """An object may be called anything; a copy of `../x` would lie beside the folder that it is copied to."""
    FarAway().pipe_file(f"/{AT}/manifest.json", b"{}")
    for name in ("..", ".hidden", "a\0b", "x" * 300 + ".json"):
        FarAway.store[f"/{AT}/{name}"] = FarAway.store[f"/{AT}/manifest.json"]
    with mirrored(RemoteFolder(RUN)) as folder:
        assert [file.name for file in folder.iterdir()] == ["manifest.json"]


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.fixture
def scanned(head: Path) -> str:
    assert reach(*SCAN, "--head", head, "--out", RUN).code == 0
    FarAway.begin()
    return RUN


def test_commands_read_a_run_at_a_url(scanned: str, tmp_path: Path, head: Path) -> None:
    verified = reach("verify", scanned, "--quiet", "--json")
    assert verified.code == 0, verified.err
    assert json.loads(verified.out)["run"] == scanned
    written = tmp_path / "tokens.csv"
    assert reach("export", scanned, "--csv", "--out", written).code == 0
    assert len(written.read_text().splitlines()) == 73
    assert FarAway.events == []
    local = tmp_path / "local"
    assert reach(*SCAN, "--head", head, "--out", local).code == 0
    told = json.loads(reach("diff", local, scanned, "--json").out)
    assert [one["run"] for one in told["against"]] == [scanned]
    page = tmp_path / "compare.html"
    assert reach("report", local, scanned, "--out", page).code == 0
    assert "/reach-" not in page.read_text()  # where the copy was
    assert "local/report.html" not in page.read_text()  # it has none


def test_pages_and_studies_go_to_the_url(scanned: str, tmp_path: Path, head: Path) -> None:
    done = reach("report", scanned)
    assert done.out == f"{scanned}/report.html\n"
    assert FarAway.events == [("put", f"/{AT}/report.html")]
    FarAway.begin()
    measured = reach(
        "interference", "--quiet", "--seeds", 0, "--without", "dictionary", "--head", head, "--out", scanned
    )
    assert measured.code == 0, measured.err
    assert f"page: {scanned}/interference.html" in measured.out
    assert {"interference.json", "interference.html", "verdicts.parquet"} <= FarAway.files(AT).keys()
    assert not [event for event in FarAway.events if event[0] == "remove"]
    assert str(tmp_path / "cache") not in "".join(
        content.decode(errors="replace")
        for name, content in FarAway.files(AT).items()
        if name.endswith((".html", ".json"))
    )
    assert nothing_is_kept(tmp_path)


def test_python_opens_and_saves_at_a_url(scanned: str, head: Path) -> None:
    verdicts = library.open(scanned)
    assert verdicts.totals.tokens == 72
    tables = verdicts.tables
    del verdicts
    assert tables.hull_weights.num_rows > 0  # read when it is asked for: the copy is still there
    saved = library.prove([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], domain="ball:1").save("faraway://bucket/proved")
    assert str(saved) == "faraway://bucket/proved"
    assert library.open(str(saved))[2].verdict == "unspeakable"
    with pytest.raises(BadInput, match="faraway://bucket/none: no run folder"):
        library.open("faraway://bucket/none")


# --- many models ----------------------------------------------------------------------------------------------------


def test_many_models_each_have_a_folder_there(head: Path, tmp_path: Path) -> None:
    for step in (1, 2):
        rows = np.random.default_rng(step).standard_normal((40, 4))
        save_head(tmp_path / f"step{step}.npz", rows, gamma=np.ones(4))
    models = [tmp_path / "step1.npz", tmp_path / "step2.npz"]
    scan = ("scan", "--quiet", "--jobs", 1, *models)
    assert reach(*scan, "--runs", tmp_path / "local").code == 0
    first = reach(*scan, "--runs", "faraway://bucket/family", "--json")
    assert first.code == 0, first.err
    told = json.loads(first.out)
    names = sorted(path.name for path in (tmp_path / "local").iterdir() if path.is_dir())
    assert [one["run"] for one in told["runs"]] == [f"faraway://bucket/family/{name}" for name in names]
    assert told["start_page"] == "faraway://bucket/family/index.html"
    assert str(tmp_path / "cache") not in first.out
    for name in names:
        mine = {
            str(file.relative_to(tmp_path / "local" / name)): file.read_bytes()
            for file in (tmp_path / "local" / name).rglob("*")
            if file.is_file()
        }
        assert results(FarAway.files(f"bucket/family/{name}")) == results(mine)
    page = FarAway.files("bucket/family")["index.html"].decode()
    assert all(f'"{name}/report.html"' in page for name in names)
    FarAway.begin()
    again = reach(*scan, "--runs", "faraway://bucket/family")
    assert again.code == 0
    assert again.out.count("(was there)") == 2
    assert [path for _, path in FarAway.events] == ["/bucket/family/index.html"]
    assert nothing_is_kept(tmp_path)


def test_a_trace_reads_runs_there_and_names_their_urls(head: Path, tmp_path: Path) -> None:
    runs = [f"faraway://bucket/family/adam-seed-0/checkpoint-{step}" for step in (1, 2)]
    plan = tmp_path / "plan.csv"
    plan.write_text(f"run,step,colour\n{runs[1]},2,blue\n{runs[0]},1,blue\n")
    for run in runs:
        assert reach(*SCAN, "--head", head, "--out", run).code == 0
    assert reach("trace", "faraway://bucket/family", "--out", "faraway://bucket/trace", "--plan", plan).code == 0
    traced = FarAway.files("bucket/trace")
    assert {"trace.json", "trace.parquet", "trace.html"} == traced.keys()
    record = json.loads(traced["trace.json"])
    assert [(one["run"], one["series"], one["step"]) for one in record["runs"]] == [
        (run, "adam-seed-0", step) for step, run in enumerate(runs, 1)
    ]
    assert record["series"][0]["factors"]["colour"] == "blue"
    assert runs[0].encode() in traced["trace.html"]
    assert b"/reach-" not in traced["trace.json"] + traced["trace.html"]  # where the copies were


def test_a_list_of_runs_fetches_no_table(scanned: str) -> None:
    rows = FarAway.files(AT)["verdicts.parquet"]
    with mirrored(RemoteFolder("faraway://bucket/family"), LISTED) as folder:
        table = folder / "run-1" / "verdicts.parquet"
        assert table.stat().st_size == len(rows)
        assert not (folder / "run-1" / "witnesses" / "00000.safetensors").exists()
    done = reach("report", "--index", "faraway://bucket/family")
    assert done.out == "faraway://bucket/family/index.html\n"


# --- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "the disk is full; free some space and go on with --resume"),
        (PermissionError("Access Denied"), "Access Denied; see to the credentials of this machine"),
        (ConnectionRefusedError("refused"), "refused; see to the address and the connection"),
    ],
)
def test_a_file_that_cannot_be_put_there_is_kept(
    head: Path, here: dict[str, bytes], tmp_path: Path, error: OSError, said: str
) -> None:
    FarAway.refuse["hull_weights.parquet"] = error
    complaint = reach(*SCAN, "--head", head, "--out", RUN).complaint
    assert complaint.startswith(f"{RUN}/hull_weights.parquet: cannot be written: {said}")
    (kept,) = cache_folder().iterdir()
    assert complaint.endswith(f"(what could not be put there is kept in {kept})")
    assert (kept / "hull_weights.parquet").read_bytes() == here["hull_weights.parquet"]
    FarAway.begin()
    assert reach(*SCAN, "--head", head, "--out", RUN, "--resume").code == 0
    assert results(FarAway.files(AT)) == here
    assert (kept / "hull_weights.parquet").exists()  # for its owner to remove


def test_a_place_that_takes_nothing_is_refused_at_once(head: Path, tmp_path: Path) -> None:
    FarAway.refuse["manifest.json"] = PermissionError("Access Denied")
    complaint = reach(*SCAN, "--head", head, "--out", RUN).complaint
    assert complaint.startswith(f"{RUN}/manifest.json: cannot be written: Access Denied")
    assert FarAway.files() == {}
    assert nothing_is_kept(tmp_path)


def test_a_page_that_cannot_be_put_there_keeps_the_run_finished(head: Path) -> None:
    FarAway.refuse["report.html"] = OSError(28, "No space left on device")
    done = reach("scan", "--quiet", "--head", head, "--out", RUN)
    assert f"{RUN}/report.html: cannot be written: the disk is full" in done.complaint
    assert f"run:    {RUN}" in done.out
    assert manifest()["status"] == "finished"
    FarAway.begin()
    assert reach("report", RUN).code == 0


def test_a_failure_that_has_passed_at_the_end_is_none() -> None:
    place = RemoteFolder("faraway://bucket/x")
    from reach.runs.atomic import write_json

    with mirrored(place) as folder:
        FarAway.refuse["a.json"] = ConnectionResetError("reset")
        with pytest.raises(BadInput, match="reset"):
            write_json(folder / "a.json", {"a": 1})
        FarAway.begin()
    assert json.loads(FarAway.files("bucket/x")["a.json"]) == {"a": 1}


def test_one_writer_at_a_time_on_one_machine(head: Path) -> None:
    with (
        mirrored(RemoteFolder(RUN), alone=True),
        pytest.raises(BadInput, match="is writing there already"),
        mirrored(RemoteFolder(RUN), alone=True),
    ):
        pass
    from threading import Thread

    from reach.runs import lock

    with mirrored(RemoteFolder(RUN), alone=True) as folder:
        top = next(parent for parent in folder.parents if (parent / lock.LOCK_FILE).exists())
    held: list[str] = []

    def other() -> None:
        held.append(reach(*SCAN, "--head", head, "--out", RUN).complaint)

    from filelock import FileLock

    top.mkdir(parents=True)
    with FileLock(top / lock.LOCK_FILE):
        thread = Thread(target=other)
        thread.start()
        thread.join()
    assert held == [
        f"{RUN}: another reach is writing to this run folder; wait until it has ended, or choose another --out"
    ]


def test_two_machines_that_resume_one_run_write_the_same(head: Path, here: dict[str, bytes], tmp_path: Path) -> None:
    """The other machine begins when this one is half-way, and ends before it: nothing of either is lost or mixed."""
    FarAway.begin(last=4)
    with pytest.raises(Killed):
        reach(*SCAN, "--head", head, "--out", RUN)
    FarAway.begin()
    with pytest.MonkeyPatch.context() as patch, mirrored(RemoteFolder(RUN), alone=True):
        # Another cache folder is another machine: its lock is another one.
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
        refused = reach(*SCAN, "--head", head, "--out", RUN).complaint
        assert "holds an unfinished run; go on with --resume" in refused
        assert reach(*SCAN, "--head", head, "--out", RUN, "--resume").code == 0
    assert results(FarAway.files(AT)) == here


def test_a_broken_manifest_is_refused_by_the_name_of_the_url() -> None:
    FarAway().pipe_file(f"/{AT}/manifest.json", b'{"schema": 1, ')
    complaint = reach("verify", RUN).complaint
    assert complaint.startswith(f"{RUN}/manifest.json: not readable as JSON")
    FarAway().pipe_file(f"/{AT}/manifest.json", b" " * (2**22 + 1))
    assert reach("verify", RUN).complaint.startswith(f"{RUN}/manifest.json: is too large to be read")


def test_what_is_no_folder_is_refused(head: Path) -> None:
    FarAway().pipe_file("/bucket/file", b"text")
    assert reach("verify", "faraway://bucket/file").complaint == (
        "faraway://bucket/file: is a file, but a run is a folder; name a folder"
    )
    assert "no run folder" in reach("verify", "faraway://bucket/nothing").complaint
    assert reach(*SCAN, "--head", head, "--out", "faraway://bucket/none", "--resume").complaint == (
        "faraway://bucket/none: nothing to resume there; leave --resume out"
    )


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nosuch://bucket/run", "nosuch://bucket/run: fsspec knows no protocol 'nosuch'"),
        ("faraway://bucket/../run", "write the folder without '.' and '..'"),
        ("faraway://bucket/a/./run", "write the folder without '.' and '..'"),
        ("s3://bucket/run?versionId=3", "s3://bucket/run: '?' and what follows is no part"),
        ("zip://x::s3://bucket/run", "is several URLs in one"),
        ("s3://", "no folder can have such a name"),
        ("faraway://" + "x" * 300, "no file can have so long a name"),
    ],
)
def test_urls_that_name_no_folder(head: Path, url: str, said: str) -> None:
    assert said in reach(*SCAN, "--head", head, "--out", url).complaint


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, head: Path) -> None:
    monkeypatch.setitem(sys.modules, "paramiko", None)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.sftp", raising=False)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "sftp", raising=False)
    assert reach(*SCAN, "--head", head, "--out", "sftp://host/run").complaint == (
        "sftp://host/run: sftp:// needs a package that is not installed: pip install paramiko"
    )


def test_urls_are_refused_where_a_path_is_needed(head: Path) -> None:
    assert reach(*SCAN, "--head", head, "--fail-on", "tied", "--junit", "s3://bucket/a.xml").complaint == (
        "--junit s3://bucket/a.xml: is a URL; here a path on this machine is needed"
    )
    assert "--head s3://bucket/head.npz: is a URL" in reach("scan", "--head", "s3://bucket/head.npz").complaint


# --- names and credentials ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["s3://key:secret@bucket/run", "s3://key:se/cret@bucket/run", "ftp://u:se/cret@h/run"]
)
def test_credentials_are_not_repeated(url: str, head: Path) -> None:
    done = reach(*SCAN, "--verbose", "--head", head, "--out", url)
    assert done.code == 2
    assert "secret" not in done.err + done.out
    assert "se/cret" not in done.err + done.out
    assert "credentials do not belong in" in done.err


def test_a_password_reaches_the_file_system_alone(
    monkeypatch: pytest.MonkeyPatch, head: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "faraway://user:secret@host/family/run"
    monkeypatch.setattr("sys.argv", ["reach", "scan", f"--out={url}"])
    assert command_line() == ("reach", "scan", "--out=faraway://host/family/run")
    done = reach("scan", "--verbose", "--jobs", 1, "--head", head, "--out", url)
    assert done.code == 0, done.err
    assert "run:    faraway://host/family/run" in done.out
    assert "secret" not in done.out + done.err
    stored = FarAway.files("user:secret@host/family/run")  # this file system knows no users: it is part of the name
    assert "verdicts.parquet" in stored
    assert not [name for name, content in stored.items() if b"secret" in content]


def test_texts_that_are_no_credentials_stay() -> None:
    for text in ("sftp://user@host/run", "s3://bucket/model@step10", "a:b@c", "sftp://host:22/model@main"):
        assert without_credentials(text) == text


@pytest.mark.parametrize(
    ("text", "url"), [("s3://b/x", True), ("FILE:///x", True), ("s3:/b", False), ("a/b://c", False), ("C:\\x", False)]
)
def test_what_is_a_url(text: str, url: bool) -> None:
    assert is_url(text) is url


def test_a_place_is_one_value() -> None:
    place = RemoteFolder("sftp://user:pw@host:22/a/b/")
    assert str(place / "c d") == "sftp://host:22/a/b/c d"
    assert repr(place) == "RemoteFolder('sftp://host:22/a/b')"
    assert pickle.loads(pickle.dumps(place)) == place
    assert place.parts == ("host:22", "a", "b")
    with pytest.raises(AttributeError):
        place.url = "s3://other"


@pytest.mark.parametrize("name", ["ü–漢", "with space", "50%25", "a#b", "[x]*", "o'clock"])
def test_odd_names_stay_as_they_are(name: str, tmp_path: Path) -> None:
    from reach.runs.atomic import write_json

    for root in ("faraway://bucket", f"file://{tmp_path}"):
        with mirrored(RemoteFolder(f"{root}/{name}"), alone=True) as folder:
            write_json(folder / "manifest.json", {"name": name})
            assert folder.name == name
        with mirrored(RemoteFolder(f"{root}/{name}")) as folder:
            assert json.loads((folder / "manifest.json").read_bytes()) == {"name": name}
    assert (tmp_path / name / "manifest.json").exists()


# --- file systems with a move ---------------------------------------------------------------------------------------


def test_elsewhere_a_file_appears_by_a_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local folder shows what a reader of a plain file system could see while a file is on its way."""
    from fsspec.implementations.local import LocalFileSystem

    file, far = tmp_path / "new", tmp_path / "far"
    far.mkdir()
    (far / "table").write_bytes(b"old")
    file.write_bytes(b"new")
    store = Store(RemoteFolder(f"file://{far}"))

    def cut_off(self: Any, lpath: Any, rpath: Any, **_: Any) -> None:
        Path(rpath).write_bytes(b"n")
        assert (far / "table").read_bytes() == b"old"

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "put_file", cut_off)
        with pytest.raises(BadInput, match=r"table: cannot be written: .*only a part of it arrived"):
            store.put(file, "table", again="run the command again")
    assert {one.name: one.read_bytes() for one in far.iterdir()} == {"table": b"old"}
    store.put(file, "table", again="")
    assert {one.name: one.read_bytes() for one in far.iterdir()} == {"table": b"new"}


def test_what_a_killed_writer_left_half_written_goes(tmp_path: Path) -> None:
    from reach.runs.atomic import write_json

    far = tmp_path / "far"
    far.mkdir()
    (far / ".verdicts.parquet.0a1b2c3d.part").write_bytes(b"half")
    with mirrored(RemoteFolder(f"file://{far}/"), alone=True) as folder:
        assert list(folder.iterdir()) == []
        write_json(folder / "manifest.json", {})
    assert [file.name for file in far.iterdir()] == ["manifest.json"]


def test_the_lock_of_the_copy_is_no_part_of_the_run() -> None:
    with mirrored(RemoteFolder("faraway://bucket/x"), alone=True) as folder, locked(folder):
        assert (folder / ".reach.lock").exists()
    assert FarAway.files() == {}
