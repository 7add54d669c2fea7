"""All of the simulation is on a fake clock: it may go on at low priority beside tests that measure time."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before the tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.patient)


@pytest.fixture
def killed_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For tests in whose worlds processes are killed: what those leave behind is freed here, unheard.

    A process that is killed leaves coroutines that nobody will ever await, and a planted bug some that do not end when
    they are closed. The interpreter says so when the collector comes to them; left alone, that is in a later test.
    """
    with monkeypatch.context() as patched:
        patched.setattr(sys, "unraisablehook", lambda unraisable: None)
        yield
        gc.collect()
        gc.collect()  # what the finalizers of the first had kept alive
