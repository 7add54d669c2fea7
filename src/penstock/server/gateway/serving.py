"""Listening for the gateway alone."""

import socket
from typing import Any

from penstock.server.listening import Listening
from penstock.server.serving import allow_many_files
from penstock.settings import Settings


class GatewayServing(Listening):
    """The gateway's application on a socket."""

    def __init__(self, app: Any, listener: socket.socket, settings: Settings) -> None:
        allow_many_files()
        super().__init__(app, listener, settings, date_header=False)
