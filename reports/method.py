"""How a scan was done: what a reader needs to judge it or to do it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reach.runs.domain_words import domain_words
from reports import plain
from reports.domain import norm_name

Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Method:
    """Groups of name and value, and the two commands."""

    head: Facts
    tensors: Facts
    run: Facts
    settings: Facts
    versions: Facts
    command: str
    verify: str


def method_view(manifest: Mapping[str, Any], run_name: str) -> Method:
    """Collect the facts of a manifest; whatever is missing says so."""
    head = plain.mapping(manifest.get("head"))
    hardware = plain.mapping(manifest.get("hardware"))
    command = manifest.get("command")
    return Method(
        head=(
            ("Model", plain.text(manifest.get("model"))),
            ("Fingerprint of A and c", plain.text(manifest.get("fingerprint"))),
            ("Architecture", plain.text(head.get("architecture"))),
            ("Vocabulary × width", f"{plain.count(manifest.get('v'))} × {plain.count(manifest.get('d'))}"),
            ("Final norm", norm_name(manifest) or ("none" if "norm" in head else plain.NOT_RECORDED)),
            ("eps of the norm", "none" if "eps" in head and head["eps"] is None else plain.text(head.get("eps"))),
            ("Output matrix", plain.text(head.get("tie"))),
            ("Data type", plain.text(head.get("dtype"))),
            ("Domain", plain.text(domain_words(manifest))),
            ("Self-check against the live model", _self_check(manifest)),
        ),
        tensors=tuple((str(role), plain.text(name)) for role, name in plain.mapping(head.get("tensors")).items()),
        run=(
            ("Started", plain.text(manifest.get("started"))),
            ("Took", plain.seconds(manifest.get("seconds"))),
            ("Peak memory", plain.size(manifest.get("peak_memory_bytes"))),
            ("Processor", plain.text(hardware.get("cpu"))),
            ("Cores", plain.count(hardware.get("cores"))),
            ("Memory", plain.size(hardware.get("memory_bytes"))),
            ("GPU", "none" if "gpu" in hardware and not hardware["gpu"] else plain.text(hardware.get("gpu"))),
            ("Schema of the run", plain.text(manifest.get("schema"))),
        ),
        settings=tuple(plain.flat(plain.mapping(manifest.get("settings")))),
        versions=tuple(
            (str(name), plain.text(found)) for name, found in plain.mapping(manifest.get("versions")).items()
        ),
        command=shlex.join(str(part) for part in command) if isinstance(command, list) else plain.text(command),
        verify=shlex.join(["reach", "verify", run_name]),
    )


def _self_check(manifest: Mapping[str, Any]) -> str:
    """What the comparison of the head with the live model said, if there was one."""
    if "self_check" not in manifest:
        return plain.NOT_RECORDED
    found = manifest["self_check"]
    return "not run" if found is None else plain.text(plain.mapping(found).get("sentence"))
