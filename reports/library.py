"""The plotting library out of its Python package, packed so that a page carries it once and unpacks it when asked."""

from __future__ import annotations

import base64
import hashlib
import zlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from solvers.errors import BadInput


@dataclass(frozen=True)
class Library:
    """A script: deflated and in base64, and the digest by which a page's policy lets it in."""

    packed: str
    digest: str


@cache
def plotly_library() -> Library:
    """plotly.js as the installed plotly ships it.

    Raises:
        BadInput: plotly is missing, or holds no script.
    """
    # Found, not imported: the package itself is slow to load and of no use here.
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise BadInput("plotly is not installed, so reports cannot be drawn: pip install plotly")
    file = Path(spec.origin).parent / "package_data" / "plotly.min.js"
    try:
        source = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: cannot be read ({error}); install plotly again") from None
    # A browser hashes a script's text after it has made all line ends one sign.
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    return Library(packed(source.encode(), 9), sha256_source(source))


def packed(data: bytes, level: int = 6) -> str:
    """Deflate and base64: what `inflate` in `templates/decode.js` reads."""
    return base64.b64encode(zlib.compress(data, level)).decode("ascii")


def sha256_source(text: str) -> str:
    """A source of a content security policy: exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"
