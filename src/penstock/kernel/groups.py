"""Things in groups that are not too much at a time."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def in_groups(items: Iterable[T], weight: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """The items in their order, in groups that weigh at most so much together; one that weighs more is alone."""
    group: list[T] = []
    held = 0
    for item in items:
        adds = weight(item)
        if group and held + adds > most:
            yield group
            group, held = [], 0
        group.append(item)
        held += adds
    if group:
        yield group
