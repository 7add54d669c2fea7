"""Forged exports: random edits of every field of every line, by somebody without the log's key and by its owner.

The owner's forgery is as good as it can be: all hashes, leaves, the tree and the checkpoint are made to fit again, and
everything is signed anew. What he cannot change is the checkpoint that somebody else holds.
"""

import contextlib
import hashlib
import importlib.util
import io
import json
import random
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from penstock import verifier
from penstock.journal.chain import genesis, link
from penstock.journal.merkle import Frontier, leaf_hash
from penstock.journal.notes import Checkpoint, Note, SigningKey, origin_of, verify_ed25519
from penstock.ports.actions import first_link, link_action

Line = tuple[bytes, bytes]
"""Word, and the rest."""


def load_verifier(*, fast: bool = False) -> ModuleType:
    """The stand-alone verifier as a module; ``fast``: with a library's check of signatures in place of its own."""
    folder = Path(verifier.__file__).parent
    sys.path.insert(0, str(folder))
    try:
        spec = importlib.util.spec_from_file_location("standalone_verify", folder / "verify.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    if fast:
        module.ed25519.verify = verify_ed25519
    return module


def verdict(module: ModuleType, export: Path, key: Path, *options: str) -> str:
    """What the verifier says of a file; '' = it is as it should be."""
    with contextlib.redirect_stdout(io.StringIO()):
        return module.main([str(export), str(key), *options]) or ""


def parsed(export: bytes) -> list[Line]:
    """The lines of an export."""
    parts = [line.partition(b" ") for line in export.rstrip(b"\n").split(b"\n")]
    return [(word, text) for word, _, text in parts]


def joined(lines: list[Line]) -> bytes:
    """The export of some lines."""
    return b"".join(word + b" " + text + b"\n" for word, text in lines)


@dataclass(slots=True)
class Forger:
    """Makes forgeries of one export; ``key`` is the log's."""

    lines: list[Line]
    key: SigningKey
    random: random.Random

    def outside(self) -> tuple[str, bytes]:
        """Something in the file changed by somebody without the key: a name for it, and the file."""
        lines = list(self.lines)
        kind = self.random.choice(["field", "field", "field", "field", "drop", "swap", "twice", "cut", "move"])
        at = self.random.randrange(len(lines))
        if kind == "field":
            word, text = lines[at]
            lines[at] = (word, self._changed(text))
            return f"field of {word.decode()}", joined(lines)
        if kind == "cut":
            whole = joined(lines)
            return kind, whole[: self.random.randrange(1, len(whole))]
        other = self.random.randrange(len(lines))
        if kind == "drop":
            del lines[at]
        elif kind == "twice":
            lines.insert(other, lines[at])
        elif kind == "swap":
            lines[at], lines[other] = lines[other], lines[at]
        else:
            lines.insert(other, lines.pop(at))
        return f"line: {kind}", joined(lines)

    def owner(self) -> tuple[str, bytes]:
        """Something recorded that was changed by whoever has the key, with all that follows from it."""
        edits: list[Callable[[list[Line]], str]] = [
            self._event_field,
            self._event_field,
            self._event_field,
            self._drop_event,
            self._insert_event,
            self._swap_events,
            self._truncate,
            self._splice,
            self._drop_run,
            self._drop_leaf,
            self._leaf_field,
        ]
        lines = list(self.lines)
        name = self.random.choice(edits)(lines)
        return name, self.repaired(lines)

    def _changed(self, text: bytes) -> bytes:
        """One byte, a few, or the length of a part."""
        at = self.random.randrange(max(1, len(text)))
        how = self.random.randrange(4)
        if how == 0:
            return text[:at] + text[at + 1 :] if len(text) > 1 else text + b"0"
        if how == 1:
            return text[:at] + bytes([self.random.choice(b"0123456789abcdefXYZ")]) + text[at:]
        if how == 2 and len(text) > 4:
            return text[: at // 2] + text[at:] if at - at // 2 else text + b"0"
        return text[:at] + bytes([(text[at] if text else 48) ^ self.random.choice((1, 2, 4, 8, 16))]) + text[at + 1 :]

    def _events(self, lines: list[Line], *, runs_only: bool = False) -> list[int]:
        found, run = [], ""
        for at, (word, text) in enumerate(lines):
            if word == b"chain":
                run = json.loads(text)["run"]
            elif word == b"event" and (run or not runs_only):
                found.append(at)
        return found

    def _event_field(self, lines: list[Line]) -> str:
        at = self.random.choice(self._events(lines))
        head, brace, rest = lines[at][1].partition(b"{")
        body = json.loads(brace + rest)
        path, holder = [], body
        name = self.random.choice(sorted(body))
        while True:
            path.append(str(name))
            value = holder[name]
            if isinstance(value, dict) and value and self.random.random() < 0.8:
                holder, name = value, self.random.choice(sorted(value))
            elif isinstance(value, list) and value and self.random.random() < 0.8:
                holder, name = value, self.random.randrange(len(value))
            else:
                break
        holder[name] = self._other(value)
        lines[at] = (b"event", head + json.dumps(body, sort_keys=True, separators=(",", ":")).encode())
        return "event field " + ".".join("*" if part.isdigit() else part for part in path)

    def _other(self, value: Any) -> Any:
        if isinstance(value, bool):
            return not value
        if isinstance(value, int | float):
            return value + self.random.choice((-1, 1, 1000, -value or 7))
        if isinstance(value, str):
            return value[:-1] if value and self.random.random() < 0.5 else value + "x"
        if isinstance(value, list):
            return value[1:] or ["x"]
        return {**value, "x": 1} if isinstance(value, dict) else "x"

    def _drop_event(self, lines: list[Line]) -> str:
        del lines[self.random.choice(self._events(lines))]
        return "event dropped"

    def _insert_event(self, lines: list[Line]) -> str:
        events = self._events(lines, runs_only=True)
        lines.insert(self.random.choice(events), lines[self.random.choice(events)])
        return "event inserted"

    def _swap_events(self, lines: list[Line]) -> str:
        events = self._events(lines, runs_only=True)
        one, two = self.random.sample(events, 2)
        while lines[one][1].split(b" ", 2)[2] == lines[two][1].split(b" ", 2)[2]:
            one, two = self.random.sample(events, 2)
        lines[one], lines[two] = lines[two], lines[one]
        return "events swapped"

    def _stretches(self, lines: list[Line]) -> list[tuple[int, int]]:
        """Of each run the place of its line, and that after its last event."""
        found = []
        for at, (word, text) in enumerate(lines):
            if word == b"chain" and json.loads(text)["run"]:
                end = at + 1
                while lines[end][0] == b"event":
                    end += 1
                found.append((at, end))
        return found

    def _truncate(self, lines: list[Line]) -> str:
        begin, end = self.random.choice(self._stretches(lines))
        del lines[self.random.randrange(begin + 1, end) : end]
        return "run truncated"

    def _splice(self, lines: list[Line]) -> str:
        (one, one_end), (two, two_end) = self.random.sample(self._stretches(lines), 2)
        lines[one + 1 : one_end] = lines[two + 1 : two_end]
        return "run spliced"

    def _drop_run(self, lines: list[Line]) -> str:
        begin, _ = self.random.choice(self._stretches(lines))
        run = json.loads(lines[begin][1])["run"]
        end = begin + 1
        while lines[end][0] in (b"event", b"who", b"payload"):
            end += 1
        del lines[begin:end]
        keep_leaves = self.random.random() < 0.5
        if not keep_leaves:
            lines[:] = [line for line in lines if line[0] != b"leaf" or json.loads(line[1]).get("run") != run]
        return "run dropped" if keep_leaves else "run dropped with its leaves"

    def _drop_leaf(self, lines: list[Line]) -> str:
        leaves = [at for at, (word, _) in enumerate(lines) if word == b"leaf"]
        del lines[self.random.choice(leaves)]
        return "leaf dropped"

    def _leaf_field(self, lines: list[Line]) -> str:
        leaves = [at for at, (word, _) in enumerate(lines) if word == b"leaf"]
        at = self.random.choice(leaves)
        leaf = json.loads(lines[at][1])
        name = self.random.choice([name for name in sorted(leaf) if name not in ("hash", "kind", "seq")])
        leaf[name] = str(uuid.uuid4()) if name == "run" else self._other(leaf[name])
        lines[at] = (b"leaf", json.dumps(leaf, sort_keys=True, separators=(",", ":")).encode())
        return f"leaf field {name}"

    def repaired(self, lines: list[Line]) -> bytes:
        """Make everything fit: numbers, hashes, leaves, the tree, the checkpoint, the signatures."""
        about = json.loads(lines[0][1])
        hashes = self._relinked(lines, about["tenant"])
        tree = Frontier()
        for at, (word, text) in enumerate(lines):
            if word == b"node":
                level, node = text.split()
                with contextlib.suppress(ValueError):  # of a tree with a leaf less: it cannot be made to fit
                    tree.append_node(int(level), bytes.fromhex(node.decode()))
            elif word == b"leaf":
                leaf = json.loads(text)
                known = hashes.get(leaf.get("run", ""), [])
                if leaf["kind"] != "key" and known:
                    leaf["seq"] = min(leaf["seq"], len(known))
                    leaf["hash"] = known[leaf["seq"] - 1] if leaf["seq"] > 0 else leaf["hash"]
                    lines[at] = (word, json.dumps(leaf, sort_keys=True, separators=(",", ":")).encode())
                tree.append(leaf_hash(lines[at][1]))
        origin = origin_of(about["base"], about["tenant"])
        head = Checkpoint(origin, tree.size, tree.root()).text()
        about["checkpoint"] = str(Note(head, [self.key.sign_note(origin, head)]))
        lines[0] = (b"log", json.dumps(about).encode())
        return signed(lines[:-1], self.key)

    def _relinked(self, lines: list[Line], tenant: str) -> dict[str, list[str]]:
        hashes: dict[str, list[str]] = {}
        run, previous = "", b""
        for at, (word, text) in enumerate(lines):
            if word == b"chain":
                run = json.loads(text)["run"]
                previous = genesis(tenant, uuid.UUID(run)) if run else first_link(tenant)
                hashes[run] = []
            elif word == b"event":
                known = hashes.setdefault(run, [])
                seq, rest = len(known) + 1, text.split(b" ", 2)[2]
                if run:
                    previous = link(previous, rest)
                else:
                    moment, _, body = rest.partition(b" ")
                    previous = link_action(previous, seq, int(moment), body)
                known.append(previous.hex())
                lines[at] = (word, b"%d %s %s" % (seq, previous.hex().encode(), rest))
        return hashes


def signed(lines: list[Line], key: SigningKey) -> bytes:
    """An export of those lines, with its end."""
    body = joined(lines)
    said = f"penstock.audit.export/v1\n{hashlib.sha256(body).hexdigest()}\n".encode()
    return body + b"end " + key.sign(said).hex().encode() + b"\n"
