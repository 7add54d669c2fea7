"""The generated pages are fresh, and what they list is complete."""

import importlib.util
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from penstock.kernel import errors
from penstock.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "tools" / "generate_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def every_error() -> list[type[errors.PenstockError]]:
    return [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.PenstockError)]


def test_the_generated_pages_are_fresh(generator: ModuleType) -> None:
    stale = [name for name, make in generator.PAGES if (ROOT / name).read_text(encoding="utf-8") != make()]
    assert not stale, "make docs"


def test_every_error_has_a_code_of_its_own_and_an_entry(generator: ModuleType) -> None:
    page = generator.error_page()
    codes: dict[str, type] = {}
    for error in every_error():
        assert "code" in vars(error), f"{error.__name__} has no code of its own"
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code), error.code
        assert error.code not in codes, f"{error.__name__} and {codes[error.code].__name__} share {error.code}"
        codes[error.code] = error
        assert error.__doc__, f"{error.__name__} does not say what happened"
        assert f"`{error.code}`" in page
        assert f"`{error.__name__}`" in page


def test_errors_are_made_in_the_kernels_tree_only() -> None:
    """Where else a class derives from an error of ours, its code would be missing from the page."""
    for path in (ROOT / "src" / "penstock").rglob("*.py"):
        if "errors" in path.parts:
            continue
        for name, bases in re.findall(r"(?m)^class (\w+)\(([^)]*)\)", path.read_text(encoding="utf-8")):
            ours = {error.__name__ for error in every_error()} & set(re.findall(r"\w+", bases))
            assert not ours, f"{path}: {name}"


def test_every_setting_is_read_somewhere() -> None:
    source = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "src" / "penstock").rglob("*.py")
        if "settings" not in path.parts
    )
    unread = [name for name in Settings.__dataclass_fields__ if not re.search(rf"\.{name}\b", source)]
    assert not unread, "a setting that nothing reads misleads whoever sets it"
