"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, settings

REAL_MODELS = Path(__file__).resolve().parents[2] / "shared" / "models"

# Tests run side by side with other work; more threads would only wait for each other.
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))

# Files that take long, the longest first: tests are handed out by file, and a long last one keeps a core waiting.
_LONG = (
    "test_packaging", "test_conformance", "test_resume", "test_real_pages_browser", "test_table_browser",
    "test_report_browser", "test_e2e_real_models", "test_bad_input_cli", "test_axe_browser",
    "test_report_plots_browser", "test_report_margins", "test_fuzz_scan", "test_run_lock", "test_looking_at_pages",
    "test_hub_parts", "test_own_row_stage", "test_maps_made", "test_repair_command", "test_least_changes",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    rank = {name: at for at, name in enumerate(_LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


# For mutation runs: the first counterexample will do, and is the same every time.
settings.register_profile(
    "mutation", phases=(Phase.explicit, Phase.generate), derandomize=True, database=None, deadline=None
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is kept in the user's cache folder is kept in one of the tests instead."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def real_models() -> Path:
    """The folder of real trained models. Absent: the test is skipped, but fails where CI=true promises the models."""
    if not REAL_MODELS.is_dir():
        reason = f"real models are not at {REAL_MODELS}"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}, which CI must provide")
        pytest.skip(reason)
    return REAL_MODELS
