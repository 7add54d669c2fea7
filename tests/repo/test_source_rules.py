"""What the source promises beyond types and style: sizes, names, and who may read clock, chance and environment."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "penstock"
MODULES = sorted(SOURCE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

FILE_LINES_MAX = 400
TEST_FILE_LINES_MAX = 800
FUNCTION_LINES_MAX = 70

# Path, or path::function, and why it may be longer. An entry that is not needed any more fails the test.
LENGTH_EXEMPTIONS: dict[str, str] = {}

FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers", "stuff"}

# Modules and names that only the kernel may import or touch: time and chance. Of `random` the others may use the type.
CLOCK_AND_CHANCE = {"time", "secrets", "sched"}
CLOCK_CALLS = {
    ("datetime", "now"),
    ("datetime", "today"),
    ("datetime", "utcnow"),
    ("date", "today"),
    ("os", "urandom"),
    ("uuid", "uuid1"),
    ("uuid", "uuid4"),
    ("uuid", "uuid7"),
}
ENVIRONMENT = {("os", "environ"), ("os", "getenv"), ("os", "environb")}
# Providers' libraries move weekly: one adapter knows them. The demo plays a user with tables of its own.
ADAPTER_ONLY = {
    "pydantic_ai": ("adapters/providers", "integrations"),
    "openai": ("adapters/providers",),
    "anthropic": ("adapters/providers",),
    "asyncpg": ("adapters/postgres", "demo/"),
    "wordllama": ("adapters/embeddings.py",),
    "genai_prices": ("adapters/prices.py",),
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def lengths(paths: list[Path], file_max: int) -> Iterator[tuple[str, int, int]]:
    """Name, lines and the most it may have, of each file and each function."""
    for path in paths:
        yield name_of(path), path.read_text(encoding="utf-8").count("\n"), file_max
        for node in functions(tree_of(path)):
            assert node.end_lineno is not None
            yield f"{name_of(path)}::{node.name}", node.end_lineno - node.lineno + 1, FUNCTION_LINES_MAX


def functions(parent: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All of them, inner ones too. Expressions, which are most of a tree and hold none, are passed over."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node
            yield from functions(node)


def test_files_and_functions_are_short() -> None:
    measured = [*lengths(MODULES, FILE_LINES_MAX), *lengths(TESTS, TEST_FILE_LINES_MAX)]
    too_long = {name: f"{lines} lines, at most {most}" for name, lines, most in measured if lines > most}
    unexpected = {name: words for name, words in too_long.items() if name not in LENGTH_EXEMPTIONS}
    assert not unexpected, "split them, or exempt them with a reason"
    assert set(LENGTH_EXEMPTIONS) <= set(too_long), "these exemptions are not needed any more"


def test_the_length_of_a_function_is_seen_wherever_it_stands() -> None:
    tree = ast.parse(
        "class A:\n def a(self):\n  def b(): pass\n"
        "try: pass\nexcept OSError:\n def c(): pass\nelse:\n def d(): pass\n"
        "match 1:\n case 2:\n  async def e(): pass\n"
    )
    assert [node.name for node in functions(tree)] == list("abcde")


def test_modules_say_what_they_are_about() -> None:
    for path in MODULES:
        assert not {*path.relative_to(SOURCE).with_suffix("").parts} & FORBIDDEN_NAMES, name_of(path)
        tree = tree_of(path)
        assert not tree.body or ast.get_docstring(tree), f"{name_of(path)} has no docstring"


def test_there_are_no_section_banners() -> None:
    for path in [*MODULES, *TESTS]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            mark = line.strip()
            assert not (mark.startswith("#") and mark.strip("# ")[:3] in {"---", "===", "***", "___"}), (
                f"{name_of(path)}:{number}"
            )


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0], node.lineno


def touched(tree: ast.AST) -> Iterator[tuple[tuple[str, str], int]]:
    """``name.attribute``, also as the end of ``module.name.attribute``, and ``from name import …``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value
            if isinstance(owner, ast.Name | ast.Attribute):
                yield (owner.id if isinstance(owner, ast.Name) else owner.attr, node.attr), node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (((node.module, alias.name), node.lineno) for alias in node.names)


def draws(tree: ast.AST) -> Iterator[int]:
    """Lines that make or use a generator of `random` instead of getting one from the kernel."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "random":
            yield from (node.lineno for alias in node.names if alias.name != "Random")
        elif isinstance(node, ast.Call) and root_of(node.func) in {"random", "Random", "SystemRandom"}:
            yield node.lineno


def root_of(node: ast.expr) -> str:
    """The first name of ``name.attribute.attribute``."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def trespasses(inside: str, tree: ast.AST) -> Iterator[str]:
    """What a module of that path reads that others are to read for it."""
    modules, pairs = [*imported(tree)], [*touched(tree)]
    if not inside.startswith("kernel/"):
        yield from (f"imports {module} in line {line}" for module, line in modules if module in CLOCK_AND_CHANCE)
        yield from (f"touches {'.'.join(pair)} in line {line}" for pair, line in pairs if pair in CLOCK_CALLS)
        yield from (f"draws numbers in line {line}" for line in draws(tree))
    if inside != "wiring.py" and not inside.startswith("settings/"):
        yield from (f"reads {'.'.join(pair)} in line {line}" for pair, line in pairs if pair in ENVIRONMENT)
    for module, line in modules:
        owners = ADAPTER_ONLY.get(module)
        if owners is not None and not inside.startswith(owners):
            yield f"imports {module} in line {line}; only {' and '.join(owners)} may"


def test_who_may_read_clock_chance_and_environment() -> None:
    found = [
        f"{name_of(path)} {words}"
        for path in MODULES
        for words in trespasses(path.relative_to(SOURCE).as_posix(), tree_of(path))
    ]
    assert not found, "\n".join(found)


def test_the_rules_above_see_what_they_forbid() -> None:
    tree = ast.parse(
        "import time\nfrom datetime import datetime\nx = datetime.now()\nimport datetime as d\ny = d.datetime.now()\n"
        "import os\nz = os.environ['A']\nfrom os import getenv\nfrom pydantic_ai.models import Model\n"
        "import random\nrandom.random()\nrandom.Random(1)\nfrom random import Random, choice\nRandom(2)\n"
    )
    assert {"time", "pydantic_ai"} <= {module for module, _ in imported(tree)}
    pairs = [pair for pair, _ in touched(tree)]
    assert pairs.count(("datetime", "now")) == 2
    assert len(list(draws(tree))) == 4
    assert [words.split()[0] for words in trespasses("gates/x.py", tree)].count("draws") == 4
    assert not [*trespasses("kernel/clock.py", ast.parse("import time\nimport random\nrandom.random()\n"))]
    assert ENVIRONMENT & set(pairs) == {("os", "environ"), ("os", "getenv")}
