"""For tests of your own agents: a platform without a database, and fakes that pass the same suites as the real parts.

from penstock.testing import ScriptedModel, in_memory, tool_call

model = ScriptedModel([tool_call("get_account", customer_id="c-1"), "Your balance is 12.30."])
async with in_memory():
    result = await support.run("How much is left?")
"""

from penstock.testing.models import ScriptedModel, tool_call
from penstock.testing.wire import WireAnswer, WireCall, WireServer
from penstock.wiring import open_in_memory as in_memory

__all__ = ["ScriptedModel", "WireAnswer", "WireCall", "WireServer", "in_memory", "tool_call"]
