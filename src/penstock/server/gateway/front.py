"""The gateway beside the API on one address: below `/gateway`."""

from typing import Any

from penstock.server.gateway.app import GatewayApp

PREFIX = "/gateway"


class Front:
    """Gives each request to the one or the other. The API's frame, with its bounds and its log, is not on the way of
    the gateway's calls."""

    def __init__(self, api: Any, gateway: GatewayApp) -> None:
        self._api = api
        self._gateway = gateway

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith(f"{PREFIX}/"):
            await self._gateway(scope, receive, send)
        else:
            await self._api(scope, receive, send)
