"""What agents and tools may say of the cache, and what contradicts itself."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

from penstock.kernel.canonical import digest
from penstock.kernel.errors import AgentInvalid, ToolInvalid
from penstock.ports.cache import SCOPES, TAG_MAX_CHARS, TAGS_MAX, Cache, CacheFor
from penstock.ports.tools import ToolDef


def checked_cache(agent: str, cache: object, temperature: float | None) -> Cache | None:
    """What an agent says of caching.

    Raises:
        AgentInvalid: it says nothing that can be, or something that would never cache anything.
    """
    if cache is None:
        return None
    if not isinstance(cache, Cache):
        raise AgentInvalid(f"the cache of {agent} is {cache!r}", hint="write cache=Cache(seconds=…)")
    _check(cache, f"the cache of {agent}", AgentInvalid)
    most = cache.temperature_max
    if most is not None and (temperature is None or temperature > most):
        raise AgentInvalid(
            f"{agent} caches answers up to a temperature of {most:g}, and asks at "
            f"{'the one that its provider has' if temperature is None else format(temperature, 'g')}",
            hint="give the agent temperature=0, or the cache temperature_max=None if the same words may come again",
        )
    return cache


def with_cache(tool: ToolDef, cache: CacheFor | None, invalidates: Sequence[str]) -> ToolDef:
    """The tool with what it says of caching.

    Raises:
        ToolInvalid: it writes and is to be cached; it reads and is to drop what is cached; or what it says cannot be.
    """
    label = tool.name
    if isinstance(invalidates, str):
        raise ToolInvalid(f"the tool {label} has invalidates={invalidates!r}", hint="write a sequence of tags")
    if invalidates and tool.effect != "write":
        raise ToolInvalid(f"the tool {label} reads, and cannot make what was read wrong", hint="declare its effect")
    _check_tags(label, invalidates)
    if invalidates:
        tool = dataclasses.replace(tool, invalidates=tuple(dict.fromkeys(invalidates)))
    if cache is None:
        return tool
    if not isinstance(cache, CacheFor):
        raise ToolInvalid(f"the cache of the tool {label} is {cache!r}", hint="write cache=CacheFor(seconds=…)")
    if tool.effect != "read":
        raise ToolInvalid(
            f"the tool {label} writes, and cannot be cached", hint='only tools with effect="read" have a cache'
        )
    _check(cache, f"the cache of the tool {label}", ToolInvalid)
    if tool.context_param is not None and cache.scope != "run":
        raise ToolInvalid(
            f"the tool {label} is told whose run it is, and its results cannot be shared by {cache.scope}",
            hint='give it what it needs as arguments, or the cache scope="run"',
        )
    arguments = tool.spec.schema.get("properties", {})
    if unknown := [name for name in cache.key or () if name not in arguments]:
        raise ToolInvalid(f"the key of the cache of the tool {label} names {unknown[0]!r}, which is no argument")
    _check_tags(label, cache.tags)
    tags = tuple(dict.fromkeys((label, *cache.tags)))
    key = None if cache.key is None else tuple(cache.key)
    kept = dataclasses.replace(cache, key=key, tags=tags)
    parts = [tool.digest, kept.scope, kept.seconds, list(kept.key) if kept.key is not None else None, list(tags)]
    return dataclasses.replace(tool, cache=kept, digest=digest(parts))


def release_part(cache: Cache) -> str:
    """What of it makes a release."""
    return f"cache: {cache.scope}, {cache.seconds:g} s, {cache.temperature_max}"


def _check(cache: Cache | CacheFor, what: str, error: Callable[..., Exception]) -> None:
    seconds: Any = cache.seconds
    if type(seconds) not in (int, float) or not math.isfinite(seconds) or seconds <= 0:
        raise error(f"{what} has seconds={seconds!r}", hint="a life in seconds, above 0")
    if cache.scope not in SCOPES:
        raise error(f"{what} has scope={cache.scope!r}", hint=f"the scopes are {', '.join(SCOPES)}")


def _check_tags(label: str, tags: Sequence[str]) -> None:
    if len(tags) >= TAGS_MAX:
        raise ToolInvalid(f"the tool {label} names {len(tags)} tags of the cache; at most {TAGS_MAX - 1} are allowed")
    for tag in tags:
        if not isinstance(tag, str) or not 0 < len(tag) <= TAG_MAX_CHARS or not tag.isprintable():
            raise ToolInvalid(
                f"the tool {label} names {str(tag)[:80]!r}, which is no tag of the cache",
                hint=f"a text of 1 to {TAG_MAX_CHARS} printable characters",
            )
