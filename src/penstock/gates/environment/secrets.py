"""The secrets of one environment: given to tools that have declared them, and kept out of what those say.

What a tool returns or raises is looked through for the values that this process has read, word for word. A value that
the tool has changed, cut or encoded is not found; nor is one of fewer characters than `SHORTEST`, which ordinary text
would hold by chance.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from penstock.kernel.canonical import stable_json
from penstock.ports.environments import Secrets, SecretStore
from penstock.rules.verdict import Decision, Verdict

MISSING = "secret_missing"
"""The code of a call of a tool that has declared a secret which is not there."""
SHORTEST = 6
VALUES_MAX = 1000
"""Values that are looked for, at most: also those from before they were changed. The oldest are forgotten first."""


class SecretKeeper:
    """Reads secrets, and knows them again."""

    def __init__(self, store: SecretStore) -> None:
        self._store = store
        self._read: OrderedDict[str, tuple[str, bytes]] = OrderedDict()  # value → name, and its bytes inside JSON

    def learn(self) -> list[str]:
        """Read all that are declared, so that they are known again; the names of those that are not there."""
        return [name for name in self._store.names if self._value(name) is None]

    def of(self, tool: str, names: Sequence[str]) -> Secrets | Decision:
        """The values of these names as they are now, or why the tool is not called."""
        values: dict[str, str] = {}
        for name in names:
            value = self._value(name)
            if value is None:
                place = self._store.place(name)
                words = f"it is not in {place}" if place else "this environment has none of that name"
                reason = f"the tool {tool} needs the secret {name}: {words}"
                return Decision(Verdict.DENY, reason, MISSING)
            values[name] = value
        return Secrets(values)

    def missing(self, names: Sequence[str]) -> list[str]:
        """Those of the names that have no value now."""
        return [name for name in names if self._value(name) is None]

    def is_in(self, data: bytes) -> bool:
        """Whether stored JSON holds a value that was read here."""
        return any(form in data for _, form in self._read.values())

    def without(self, value: Any, found: dict[str, int]) -> Any:
        """A plain value with names in place of secrets; ``found`` counts them."""
        if isinstance(value, str):
            return self.without_words(value, found)
        if isinstance(value, list):
            return [self.without(item, found) for item in value]
        if isinstance(value, dict):
            return {self.without_words(key, found): self.without(item, found) for key, item in value.items()}
        return value

    def without_words(self, text: str, found: dict[str, int]) -> str:
        for value, (name, _) in self._longest_first():
            if count := text.count(value):
                text = text.replace(value, f"[secret {name}]")
                found[name] = found.get(name, 0) + count
        return text

    def _longest_first(self) -> list[tuple[str, tuple[str, bytes]]]:
        return sorted(self._read.items(), key=lambda item: -len(item[0]))

    def _value(self, name: str) -> str | None:
        value = self._store.read(name)
        if value is not None and len(value) >= SHORTEST:
            known = self._read.get(value)
            self._read[value] = known or (name, stable_json(value)[1:-1])
            self._read.move_to_end(value)
            while len(self._read) > VALUES_MAX:
                self._read.popitem(last=False)
        return value
