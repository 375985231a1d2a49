"""What a page carries in one text: packed so that a script of the page unpacks it, and digests for its policy."""

from __future__ import annotations

import base64
import hashlib
import zlib


def packed(data: bytes, level: int = 6) -> str:
    """Deflate and base64: what `inflate` in `templates/decode.js` reads."""
    return base64.b64encode(zlib.compress(data, level)).decode("ascii")


def sha256_source(text: str) -> str:
    """A source of a content security policy: exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"
