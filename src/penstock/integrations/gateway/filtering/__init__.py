"""Filters on what passes the gateway: what goes to a provider, and what comes back, whole and streamed."""

from penstock.gates.filters.releasing import WITHHELD
from penstock.integrations.gateway.filtering.passing import Filtering, Passing, Wire

__all__ = ["WITHHELD", "Filtering", "Passing", "Wire"]
