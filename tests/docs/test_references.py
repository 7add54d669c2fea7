"""What the pages point at is there: links, settings, commands, tests; and every page can be found."""

import re
from pathlib import Path

import pytest
from tests.docs.pages import GENERATED, PAGES, ROOT, blocks_of

from penstock import events
from penstock.cli.commands import COMMANDS, Group
from penstock.rules.default import RULES
from penstock.settings import Settings, variable_of

TEXTS = [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *sorted(GENERATED.glob("*.md"))]
INDEX = ROOT / "docs" / "README.md"
_LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
_TEST_FILE = re.compile(r"`(tests/[\w/]+\.py)`")
_TEST = re.compile(r"`(test_\w+)`")
_VARIABLE = re.compile(r"\bPENSTOCK_[A-Z_]+\b")
_COMMAND = re.compile(r"`penstock ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", TEXTS, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [found[1] for found in _LINK.finditer(page.read_text(encoding="utf-8"))]
    lost = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not lost


@pytest.mark.parametrize("page", TEXTS, ids=name_of)
def test_settings_exist(page: Path) -> None:
    known = {variable_of(name) for name in Settings.__dataclass_fields__}
    named = set(_VARIABLE.findall(page.read_text(encoding="utf-8")))
    assert named <= known


@pytest.mark.parametrize("page", TEXTS, ids=name_of)
def test_commands_exist(page: Path) -> None:
    groups = {entry.name: {inner.name for inner in entry.entries} for entry in COMMANDS if isinstance(entry, Group)}
    names = {entry.name for entry in COMMANDS}
    for command, inner in _COMMAND.findall(page.read_text(encoding="utf-8")):
        assert command in names, command
        assert command not in groups or not inner or inner in groups[command], f"{command} {inner}"


@pytest.mark.parametrize("page", TEXTS, ids=name_of)
def test_tests_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    files = [ROOT / name for name in _TEST_FILE.findall(text)]
    missing = [name_of(path) for path in files if not path.exists()]
    sources = "".join(path.read_text(encoding="utf-8") for path in files if path.exists())
    missing += [name for name in _TEST.findall(text) if f"def {name}(" not in sources]
    assert not missing


def test_every_page_is_in_the_index() -> None:
    linked = {(INDEX.parent / found[1]).resolve() for found in _LINK.finditer(INDEX.read_text(encoding="utf-8"))}
    pages = {path for path in (ROOT / "docs").rglob("*.md") if "decisions" not in path.parts} - {INDEX}
    assert pages <= linked, sorted(map(name_of, pages - linked))


def test_every_event_rule_and_code_has_an_entry() -> None:
    listed = (GENERATED / "events.md").read_text(encoding="utf-8")
    for kind in events.KINDS:
        assert f"### `{kind.__struct_config__.tag}`" in listed
        for field in set(kind.__annotations__) & set(kind.__struct_fields__):
            assert f"| `{field}` |" in listed, f"{kind.__name__}.{field}"
    rules = (GENERATED / "rules.md").read_text(encoding="utf-8")
    for rule in RULES:
        assert f"## `{rule.label}`" in rules


def test_no_example_is_hidden_from_the_tests() -> None:
    """A block in a language that nothing runs would rot; terminal sessions are run as ``console``."""
    languages = {block.language for page in PAGES for block in blocks_of(page) if "save" not in block.about}
    assert languages <= {"python", "console", "text", ""}
