"""What a run was made with: package versions and hardware."""

from __future__ import annotations

import os
import platform
import resource
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = (
    "token-reachability", "torch", "numpy", "scipy", "highspy", "clarabel", "python-flint", "pyarrow", "safetensors",
    "tokenizers",
)  # fmt: skip


def package_versions(names: tuple[str, ...] = _PACKAGES) -> dict[str, str]:
    """Versions of the packages that matter to a result."""
    found = {"python": platform.python_version()}
    return found | {name: _version(name) for name in names}


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and graphics processor of this machine."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None
    return {"cpu": _processor(), "cores": os.cpu_count(), "memory_bytes": pages, "gpu": gpu}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def peak_memory_bytes() -> int:
    """The most memory that this process has held, bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Unlike ru_maxrss this does not start at the peak of the process that started this one.
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024
