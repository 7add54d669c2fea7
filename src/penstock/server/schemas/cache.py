"""The cache of answers."""

from typing import Literal

from pydantic import Field

from penstock.server.schemas.base import Given

GateName = Literal["model", "tool"]
ScopeName = Literal["run", "subject", "customer", "agent", "tenant"]


class CacheFigures(Given):
    """What became of calls."""

    hits: int = Field(description="served from the cache")
    waited: int = Field(description="of hits: by a call that was under way when they asked")
    misses: int = Field(description="might have been served, and were made")
    hit_rate: float | None = Field(description="hits of hits and misses; null = there were none")
    saved_nano: int = Field(description="what the calls had cost whose answers were given again")
    saved_tokens: int
    calls: int = Field(description="calls of models that were made, whether or not the cache was asked")
    tokens_in: int = Field(description="of their prompts")
    tokens_cached: int = Field(description="of tokens_in: read from the provider's own cache of prompts")
    tokens_written: int = Field(description="of tokens_in: written to it")
    prompt_cache_rate: float | None = Field(description="tokens_cached of tokens_in; null = no prompt was sent")


class CacheRow(CacheFigures):
    """By agent and model or tool."""

    gate: GateName
    agent: str
    name: str = Field(description="of the model or tool")


class CacheShown(Given):
    """The tenant's cache. Counts are written every second; those of a process that was killed may lack its last."""

    since: int = Field(description="the beginning of an hour")
    until: int
    as_of: int
    entries: int = Field(description="answers that are kept now")
    bytes: int
    rows: list[CacheRow] = Field(description="those that saved most first")
    left_out: int = Field(description="further rows, which total counts")
    total: CacheFigures


class CacheCleared(Given):
    """How much was dropped."""

    entries: int
