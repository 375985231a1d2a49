from __future__ import annotations

import base64
import hashlib
import zlib

import pytest

from reports import library
from reports.library import packed, plotly_library, sha256_source
from solvers.errors import BadInput


def test_the_digest_is_that_of_the_script_as_it_is_unpacked():
    found = plotly_library()
    source = zlib.decompress(base64.b64decode(found.packed))
    assert found.digest == f"'sha256-{base64.b64encode(hashlib.sha256(source).digest()).decode()}'"
    assert b"\r" not in source


def test_it_takes_less_than_half_of_its_own_size():
    assert len(plotly_library().packed) < 3e6


def test_packing_is_deflate_in_base64():
    assert zlib.decompress(base64.b64decode(packed(b"\0abc"))) == b"\0abc"


def test_the_source_of_an_empty_text():
    assert sha256_source("") == "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"


def test_without_plotly_there_is_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(library, "find_spec", lambda _: None)
    with pytest.raises(BadInput, match="pip install plotly"):
        plotly_library.__wrapped__()
