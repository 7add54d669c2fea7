"""Fakes for tests of your own agents: they implement the same ports and pass the same suites as the real parts.

from penstock.testing import ScriptedModel, tool_call

model = ScriptedModel([tool_call("get_account", customer_id="c-1"), "Your balance is 12.30."])
"""

from penstock.testing.models import ScriptedModel, tool_call
from penstock.testing.wire import WireAnswer, WireCall, WireServer

__all__ = ["ScriptedModel", "WireAnswer", "WireCall", "WireServer", "tool_call"]
