"""Runs inside LiteLLM's proxy: tells it of keys with budgets, since it finds no database to keep them in.

A key names its own budget: ``sk-<name>-<nano-dollars>``. Everything else about the budget is the proxy's own work.
"""

from fastapi import Request
from litellm.proxy._types import UserAPIKeyAuth

NANO = 10**9


async def authenticate(request: Request, api_key: str) -> UserAPIKeyAuth:  # noqa: ARG001 (the hook's signature)
    """What a key may do, as the proxy's hook for custom authentication wants it."""
    _, name, nano = api_key.split("-")
    return UserAPIKeyAuth(api_key=api_key, key_alias=name, max_budget=int(nano) / NANO, spend=0.0)
