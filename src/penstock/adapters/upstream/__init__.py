"""HTTP to the providers that the gateway stands in front of."""

from penstock.adapters.upstream.client import Answer, Upstream, UpstreamFailed

__all__ = ["Answer", "Upstream", "UpstreamFailed"]
