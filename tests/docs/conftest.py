"""Where the examples of a page run."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.code import Notebook


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def environment(database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the page's commands and blocks find set: a database of the page's own."""
    for name in [name for name in os.environ if name.startswith("PENSTOCK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PENSTOCK_DATABASE_URL", database_url)
    monkeypatch.setenv("PENSTOCK_DATA_DIR", str(folder / "data"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return dict(os.environ)


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    book = Notebook("page")
    yield book
    book.close()
