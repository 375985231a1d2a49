from __future__ import annotations

import base64
import zlib

from reports.compression import packed, sha256_source


def test_packing_is_deflate_in_base64():
    assert zlib.decompress(base64.b64decode(packed(b"\0abc"))) == b"\0abc"


def test_the_source_of_an_empty_text():
    assert sha256_source("") == "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
