"""A server that speaks the Hub's protocol, counts what it sends, and can be made to fail as servers do."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from reach.heads import hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
BLOCK = 2**16


@dataclass
class Fault:
    """What is wrong with one answer to a GET of a file.

    Attributes:
        after: bytes of the body after which the connection breaks.
        status: answered in place of the file.
        headers: sent in place of the right ones.
        extra: bytes sent beyond the range, and announced.
        sleep: seconds before the body.
        length: announced in place of the right length.
    """

    after: int | None = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    extra: int = 0
    sleep: float = 0.0
    length: int | None = None


class _Server:
    """One host, whose answers a subclass gives."""

    def __init__(self) -> None:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                owner.answer(self, with_body=False)

            def do_GET(self) -> None:
                owner.answer(self, with_body=True)

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """A client that hangs up is what some tests are about."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler, with_body: bool) -> None:
        """Answer one request."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop."""
        self.server.shutdown()
        self.server.server_close()


class LocalHub(_Server):
    """A Hub with one repository, org/tiny, that was org/old before.

    Attributes:
        folder: its files.
        fetched: names of files that were sent whole, and of those that parts were sent of, in order.
        parts: names and ranges of the parts that were sent.
        sent: bytes of bodies by file.
        asked: number of requests.
        serves_parts: whether ranges are honoured.
        faults: by file, for its next GETs, one after the other.
        always: by file, for all its GETs after those.
        token: what has to be sent along, if anything.
        commit: the commit of `main`.
        branches, tags: names of revisions, and their commits; `main` alone where none are given.
        commits: the files of commits other than that of `main`.
        etags: by file, in place of the right ones.
        store: another host that large files are sent from, if there is one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fetched: list[str] = []
        self.parts: list[tuple[str, int, int]] = []
        self.sent: Counter[str] = Counter()
        self.asked = 0
        self.serves_parts = True
        self.faults: dict[str, list[Fault | None]] = {}
        self.always: dict[str, Fault] = {}
        self.token: str | None = None
        self.commit = COMMIT
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.commits: dict[str, Path] = {}
        self.etags: dict[str, str] = {}
        self.store: Store | None = None
        super().__init__()

    @property
    def peeked(self) -> list[str]:
        """The files that parts were sent of."""
        return [name for name, _, _ in self.parts]

    def etag(self, path: Path) -> str:
        """A hash for the content, by which a large sparse file need not be read."""
        found = path.stat()
        made = hashlib.sha256(f"{path} {found.st_size} {found.st_mtime_ns}".encode()).hexdigest()
        return self.etags.get(path.name, made)

    def answer(self, request: BaseHTTPRequestHandler, with_body: bool) -> None:
        self.asked += 1
        if request.path.startswith("/api/models/"):
            return self.send_refs(request)
        repo, _, rest = request.path.lstrip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        commit = {**self.branches, **self.tags}.get(revision, revision if revision in self.commits else self.commit)
        headers = {"X-Repo-Commit": commit}
        if repo == "org/old":
            headers["Location"] = f"/org/tiny/resolve/{rest}"
            return _send(request, 307, headers)
        if repo == "org/gated" or (self.token and request.headers.get("Authorization") != f"Bearer {self.token}"):
            return _send(request, 403, {"X-Error-Code": "GatedRepo"})
        if repo != "org/tiny":
            return _send(request, 404, {"X-Error-Code": "RepoNotFound"})
        if revision not in {"main", self.commit, *self.commits, *self.branches, *self.tags}:
            return _send(request, 404, {"X-Error-Code": "RevisionNotFound"})
        path = self.commits.get(commit, self.folder) / name
        if not path.is_file():
            return _send(request, 404, headers | {"X-Error-Code": "EntryNotFound"})
        headers["ETag"] = f'"{self.etag(path)}"'
        if self.store is not None and path.suffix == ".safetensors":
            headers |= {"X-Linked-ETag": headers["ETag"], "X-Linked-Size": str(path.stat().st_size)}
            return _send(request, 302, headers | {"Location": f"{self.store.address}/{name}?signed={self.store.key}"})
        return self.send_file(request, path, headers, with_body)

    def send_refs(self, request: BaseHTTPRequestHandler) -> None:
        """The branches and tags of the repository, as the Hub lists them."""
        if request.path.split("?")[0] != "/api/models/org/tiny/refs":
            return _send(request, 404, {"X-Error-Code": "RepoNotFound"})
        kinds = {"branches": self.branches or {"main": self.commit}, "tags": self.tags, "converts": {}}
        listed = {
            kind: [
                {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": commit} for name, commit in refs.items()
            ]
            for kind, refs in kinds.items()
        }
        body = json.dumps(listed).encode()
        _head(request, 200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        request.wfile.write(body)
        return None

    def send_file(
        self, request: BaseHTTPRequestHandler, path: Path, headers: dict[str, str], with_body: bool
    ) -> None:
        """Send a file or the part of it that was asked for, as well or badly as is wanted."""
        size, name, status = path.stat().st_size, path.name, 200
        start, stop = 0, size
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range") or "")
        fault = None
        if with_body:
            waiting = self.faults.get(name)
            fault = waiting.pop(0) if waiting else self.always.get(name)
            if fault is not None and fault.status is not None:
                return _send(request, fault.status, headers | fault.headers)
            if asked and self.serves_parts:
                start, stop, status = int(asked[1]), min(int(asked[2]) + 1, size), 206
                headers = headers | {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}
                self.parts.append((name, start, stop))
            else:
                self.fetched.append(name)
        fault = fault or Fault()
        headers = headers | {"Content-Length": str(stop - start + fault.extra)} | fault.headers
        if fault.length is not None:
            headers["Content-Length"] = str(fault.length)
        if fault.after is not None or fault.length is not None:
            headers["Connection"] = "close"
        _head(request, status, headers)
        if not with_body:
            return None
        time.sleep(fault.sleep)
        with contextlib.suppress(OSError), path.open("rb") as stream:
            stream.seek(start)
            left = stop - start if fault.after is None else min(stop - start, fault.after)
            while left:
                block = stream.read(min(left, BLOCK))
                request.wfile.write(block)
                self.sent[name] += len(block)
                left -= len(block)
            request.wfile.write(bytes(fault.extra))
        if fault.after is not None or fault.length is not None:
            request.close_connection = True
            with contextlib.suppress(OSError):
                request.connection.shutdown(2)
        return None


class Store(_Server):
    """The host that a Hub sends large files from, to whoever has a signed address, and to nobody who shows a token.

    Attributes:
        hub: the Hub.
        key: what an address has to be signed with now.
        tokens: the tokens that it was shown.
    """

    def __init__(self, hub: LocalHub) -> None:
        self.hub, self.key, self.tokens = hub, 1, []  # type: ignore[var-annotated]
        super().__init__()
        hub.store = self

    def answer(self, request: BaseHTTPRequestHandler, with_body: bool) -> None:
        name, _, query = request.path.lstrip("/").partition("?")
        if "Authorization" in request.headers:
            self.tokens.append(request.headers["Authorization"])
        if query != f"signed={self.key}":
            return _send(request, 403, {})
        return self.hub.send_file(request, self.hub.folder / name, {}, with_body)


def _head(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    request.send_response(status)
    for key, value in headers.items():
        request.send_header(key, value)
    request.end_headers()


def _send(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    _head(request, status, headers | {"Content-Length": "0"})


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[LocalHub]:
    """A Hub for the length of a block."""
    local = LocalHub(folder)
    try:
        yield local
    finally:
        if local.store is not None:
            local.store.close()
        local.close()


def point_at(local: LocalHub, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Everything that reads from the Hub reads from this one.

    Given here, because huggingface_hub reads HF_ENDPOINT when it is first imported.
    """
    original = hub.HubFiles.__init__
    monkeypatch.setattr(
        hub.HubFiles,
        "__init__",
        lambda self, repo, revision=None: original(self, repo, revision, endpoint=local.address, cache=cache),
    )
    listed = hub.revisions_of
    monkeypatch.setattr(hub, "revisions_of", lambda repo: listed(repo, endpoint=local.address))
