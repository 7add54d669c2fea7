"""Opening a gateway on an open platform."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from penstock.adapters.prices import PriceList, context_of
from penstock.integrations.gateway.config import read_config
from penstock.integrations.gateway.gateway import Gateway
from penstock.integrations.gateway.targets import Targets
from penstock.runs.client import Penstock
from penstock.server.access.doorkeeper import Doorkeeper


@contextlib.asynccontextmanager
async def opened_gateway(
    platform: Penstock, config: Path | None, environment: Mapping[str, str], name: str
) -> AsyncIterator[tuple[Gateway, Doorkeeper]]:
    """A gateway and who lets callers in, while the block runs; then its runs are ended.

    Args:
        environment: where the providers' keys are.
        name: of the worker under whose lease it holds its runs, when the platform has none yet.

    Raises:
        GatewayInvalid: the configuration is wrong.
        WorkerNameTaken: another live worker has the name.
    """
    services = platform.services
    prices = PriceList.from_file(services.settings.prices_file)
    gateway = Gateway(platform, Targets(read_config(config, environment), environment, prices, context_of))
    await gateway.start(name)
    try:
        yield gateway, Doorkeeper(services.journal.access, services.clock, services.settings)
    finally:
        await gateway.close()
