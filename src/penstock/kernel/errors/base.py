"""The root of the tree."""

from typing import Any, ClassVar


class PenstockError(Exception):
    """Base of all errors of this package."""

    code: ClassVar[str] = "penstock_error"
    hint: ClassVar[str] = ""

    def __init__(self, what: str, *, hint: str | None = None, **fields: Any) -> None:
        super().__init__(what)
        self.what = what
        self.advice = self.hint if hint is None else hint
        self.fields = fields

    def __str__(self) -> str:
        return f"{self.what} [{self.code}]" + (f"\n  hint: {self.advice}" if self.advice else "")
