"""Ranges of bytes from a Hub over HTTP: where a file is served, and its bytes, each answer checked against what was
asked.

Works with the HTTP session of huggingface_hub, whichever library that is of, so that proxies, certificates and
offline mode are those of everything else that is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from solvers.errors import BadInput

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_REFUSED = (401, 403, 404, 410)
"""What a signed address answers once it has expired."""
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_WAIT = 60.0
_BYTES_AT_ONCE = 2**16


class NoRanges(Exception):
    """The server answers with a whole file where a part was asked for."""


class Broken(Exception):
    """A transfer that ended early, for a reason that may pass.

    Attributes:
        wait: seconds that the server asks to wait, or none.
        elsewhere: whether the file should be located anew first.
    """

    def __init__(self, reason: str, *, wait: float | None = None, elsewhere: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.elsewhere = elsewhere


@dataclass(frozen=True)
class Located:
    """Where the bytes of one file are served.

    Attributes:
        url: the address.
        headers: what to send along; the user's token only where the address is the Hub's own.
        size: bytes of the file, or none if the Hub does not say.
        etag: what stands for its content, or none.
    """

    url: str
    headers: Mapping[str, str]
    size: int | None
    etag: str | None


def locate(repo: str, name: str, revision: str | None, endpoint: str | None) -> Located:
    """Ask the Hub for a file. Redirects within the Hub (a repository that was renamed) are followed.

    Raises:
        Exception: whatever huggingface_hub and its HTTP library raise.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(repo, name, revision=revision, endpoint=endpoint)
    found = get_hf_file_metadata(url)
    headers = build_hf_headers()
    if not _is_the_hub(found.location, url):
        headers = {key: value for key, value in headers.items() if key.lower() != "authorization"}
    return Located(found.location, headers, found.size, found.etag)


def stream(located: Located, start: int, stop: int) -> Iterator[bytes]:
    """The bytes of a range one after the other; fewer than asked for where the server sends a shorter range.

    Raises:
        Broken: the connection failed or the server is busy; what came until then is good.
        NoRanges: it sends the whole file.
        BadInput: its answer does not fit what was asked.
    """
    headers = {**located.headers, "Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
    try:
        with _answer(located.url, headers) as (status, answered, chunks):
            left = _length(status, answered, located, start, stop)
            for chunk in chunks:
                if len(chunk) > left:
                    raise _odd(located, f"more bytes than the {stop - start} it was asked for")
                left -= len(chunk)
                yield chunk
    except (Broken, NoRanges, BadInput):
        raise
    except Exception as error:  # which HTTP library raises, and what, depends on the version of huggingface_hub
        reason = " ".join(str(error).split())[:200]
        raise Broken(f"{type(error).__name__}{f': {reason}' if reason else ''}") from None
    if left:
        raise Broken(f"the answer ended {left} bytes early")


@contextmanager
def _answer(url: str, headers: Mapping[str, str]) -> Iterator[tuple[int, Mapping[str, str], Iterator[bytes]]]:
    """Status, headers and body of a GET, the body read as it comes."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    session: Any = get_session()
    options = {"headers": dict(headers), "timeout": constants.HF_HUB_DOWNLOAD_TIMEOUT}
    if callable(getattr(session, "stream", None)):  # httpx, from huggingface_hub 1.0 on
        with session.stream("GET", url, **options) as response:
            yield response.status_code, response.headers, response.iter_raw()
    else:  # requests
        with session.get(url, stream=True, **options) as response:
            yield response.status_code, response.headers, response.iter_content(_BYTES_AT_ONCE)


def _length(status: int, answered: Mapping[str, str], located: Located, start: int, stop: int) -> int:
    """Bytes that a good answer will bring."""
    if status == 200:
        raise NoRanges
    if status in _REFUSED:
        raise Broken(f"the server answered {status}", elsewhere=True)
    if status in _BUSY:
        raise Broken(f"the server answered {status}", wait=_seconds(answered.get("Retry-After")))
    if status != 206:
        what = "the file ends before that" if status == 416 else "neither the bytes nor an error that may pass"
        raise _odd(located, f"{status} for the bytes {start} to {stop - 1}: {what}")
    said, packed = answered.get("Content-Range") or "no range", answered.get("Content-Encoding") or "identity"
    found = _CONTENT_RANGE.fullmatch(said.strip())
    if packed.lower() != "identity" or found is None:
        raise _odd(located, f"a part of the file in a form that was not asked for ({said[:60]}, {packed[:60]})")
    first, last = int(found[1]), int(found[2])
    if first != start or not first <= last < stop or found[3] not in ("*", str(located.size)):
        raise _odd(located, f"the range {said[:60]} where bytes {start}-{stop - 1}/{located.size} was asked for")
    return last + 1 - first


def _odd(located: Located, what: str) -> BadInput:
    host = urlsplit(located.url).netloc
    return BadInput(
        f"the server {host} answered {what}; it or something on the way to it is at fault: try again later"
    )


def _seconds(text: str | None) -> float | None:
    """A server's wish to be left alone, as far as it is reasonable."""
    return min(float(text), _LONGEST_WAIT) if text is not None and text.strip().isdigit() else None


def _is_the_hub(location: str, url: str) -> bool:
    """Whether an address is where the file was asked for, or the Hub that a mirror stands for."""
    from huggingface_hub import constants

    return _origin(location) in {_origin(url), _origin(constants.ENDPOINT), ("https", "huggingface.co", 443)}


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)
