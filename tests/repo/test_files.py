"""What no file of the repository may hold, and what the lock files and their page must."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))

# Put together here, so that this file does not hold them itself.
BANNED = {
    "a path of one machine": ["/wo" + "rk/", "/ro" + "ot/", "/home/" + "user"],
    "the host of a package registry": ["py" + "pi.org", "python" + "hosted.org", "registry." + "npmjs.org"],
    "a reminder to do the work later": ["TO" + "DO", "FIX" + "ME", "XX" + "X:"],
}
# The documents may speak of a folder of root's where they explain what happens under root.
ALLOWED = {("src/penstock/adapters/postgres/server_account.py", "/ro" + "ot/")}


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_holds_a_banned_word() -> None:
    found = []
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for what, words in BANNED.items():
            found += [f"{name}: {what} ({word})" for word in words if word in text and (name, word) not in ALLOWED]
    assert not found


def test_no_file_is_large() -> None:
    """What is large belongs into a release or is generated; the recorded runs are the one exception."""
    large = {
        path.relative_to(ROOT).as_posix(): path.stat().st_size for path in tracked() if path.stat().st_size > 3_000_000
    }
    assert not large


def test_there_is_a_lock_for_each_use() -> None:
    uses = ["agentboundary", "agentdojo", "bench", "bootstrap", "dev", "litellm", "phoenix", "policy", "run", "toolkit"]
    assert [lock.stem for lock in LOCKS] == uses


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_everything_locked_has_a_version_and_hashes(lock: Path) -> None:
    entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^#.*\n", "", lock.read_text()))
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+(\[[a-z0-9,-]+\])?==\S+ (; .+ )?\\\n", entry), entry.splitlines()[0]
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def locked(name: str) -> dict[str, str]:
    return dict(re.findall(r"(?m)^([a-z0-9._-]+)==(\S+)", (ROOT / "requirements" / f"{name}.lock").read_text()))


def test_the_development_versions_are_those_that_run() -> None:
    run, dev = locked("run"), locked("dev")
    assert {name: dev.get(name) for name in run} == run


def normal(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return found[0].lower().replace("_", "-")


def test_each_dependency_is_locked_and_argued_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    page = (ROOT / "docs" / "decisions" / "dependencies.md").read_text()
    uses = {
        "run": project["project"]["dependencies"],
        "dev": project["dependency-groups"]["dev"],
        "bench": project["dependency-groups"]["bench"],
        **{
            peer: re.sub(r"(?m)^#.*", "", (ROOT / "requirements" / f"{peer}.in").read_text()).split()
            for peer in ("phoenix", "litellm", "policy", "agentdojo", "agentboundary", "toolkit")
        },
    }
    for lock, requirements in uses.items():
        versions = locked(lock)
        for name in map(normal, requirements):
            assert name in versions, f"{name} is not in requirements/{lock}.lock: make lock"
            assert f"| `{name}` |" in page, f"{name} has no line in docs/decisions/dependencies.md"
