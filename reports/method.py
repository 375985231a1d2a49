"""How a scan was done: what a reader needs to judge it or to do it again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from reach.runs.domain_words import domain_words
from reach.runs.manifest import Hardware, HeadRecord, Manifest
from reports import plain
from reports.domain import norm_name
from reports.portable import portable_command

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


def method_view(manifest: Manifest, run_name: str) -> Method:
    """Collect the facts of a manifest; whatever is missing says so."""
    head, hardware = manifest.head or HeadRecord(), manifest.hardware or Hardware()
    return Method(
        head=(
            ("Model", plain.text(manifest.model)),
            ("Fingerprint of A and c", plain.text(manifest.fingerprint)),
            ("Architecture", _said(head.architecture)),
            ("Vocabulary × width", f"{plain.count(manifest.v)} × {plain.count(manifest.d)}"),
            ("Final norm", norm_name(manifest) or ("none" if head.norm is not UNSET else plain.NOT_RECORDED)),
            ("eps of the norm", "none" if head.eps is None else _said(head.eps)),
            ("Output matrix", _said(head.tie)),
            ("Known by", _said(head.found_by)),
            ("Data type", _said(head.dtype)),
            ("Domain", plain.text(domain_words(manifest.record()))),
            ("Self-check against the live model", _self_check(manifest)),
        ),
        tensors=tuple((role, plain.text(name)) for role, name in head.tensors.items()),
        run=(
            ("Started", plain.text(manifest.started)),
            ("Took", plain.seconds(manifest.seconds)),
            ("Peak memory", plain.size(manifest.peak_memory_bytes)),
            ("Processor", plain.text(hardware.cpu)),
            ("Cores", plain.count(hardware.cores)),
            ("Memory", plain.size(hardware.memory_bytes)),
            ("GPU", "none" if hardware.gpu is not UNSET and not hardware.gpu else _said(hardware.gpu)),
            ("Schema of the run", plain.text(manifest.schema)),
        ),
        settings=tuple(plain.flat(manifest.settings)),
        versions=tuple((name, plain.text(found)) for name, found in manifest.versions.items()),
        command=portable_command(manifest.command) if manifest.command else plain.NOT_RECORDED,
        verify=shlex.join(["reach", "verify", run_name]),
    )


def _said(value: str | float | UnsetType | None) -> str:
    """A value that earlier versions left out."""
    return plain.NOT_RECORDED if value is UNSET else plain.text(value)


def _self_check(manifest: Manifest) -> str:
    """What the comparison of the head with the live model said, if there was one."""
    if manifest.self_check is UNSET:
        return plain.NOT_RECORDED
    return "not run" if manifest.self_check is None else plain.text(manifest.self_check.get("sentence"))
