"""`Chat`: a conversation of many turns, for agents that talk with somebody while they work."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from penstock.agents.agent import AgentTool
from penstock.agents.loop import use_tools
from penstock.agents.run import Run
from penstock.agents.tool import Tool
from penstock.events.messages import Message, Part, ToolResult, say
from penstock.gates.model.conversation import Conversation
from penstock.gates.model.gate import call_model, tools_digest
from penstock.gates.model.plan import ModelCall
from penstock.kernel.errors import AgentInvalid, InputInvalid, RunFault
from penstock.ports.cache import Cache
from penstock.ports.model import Model, ModelSettings
from penstock.rules.spiral import LAST


@dataclass(slots=True, frozen=True)
class ChatStep:
    """One answer of the model: its words, and what came of the tools it called.

    ``last``: the budget allows no further tools; the answer must be used as it is.
    """

    text: str
    results: list[ToolResult]
    last: bool


class Chat:
    """What it hears goes to the model; what the model wants of its tools goes through the gate.

    Made by ``run.chat(...)``. Take it to an end with `reply`, or step through it with `hear` and `step`. The messages
    are stored once, however long the conversation becomes.
    """

    def __init__(
        self,
        run: Run,
        model: Model,
        instructions: str,
        tools: Sequence[Tool[..., Any] | AgentTool],
        settings: ModelSettings,
        cache: Cache | None = None,
    ) -> None:
        """
        Raises:
            AgentInvalid: two tools of one name.
        """
        self.run = run
        self._model = model
        self._tools = {tool.name: tool for tool in tools}
        if len(self._tools) < len(tools):
            raise AgentInvalid("a chat has two tools of one name")
        self._specs = [tool.definition.spec if isinstance(tool, Tool) else tool.spec for tool in tools]
        self._digest = tools_digest(self._specs, None)
        self._settings = settings
        self._cache = cache
        self._conversation = Conversation([say("system", instructions)] if instructions else [])
        self._heard = False
        self._beyond = 0  # latest answers in a row that had to be the last, because calls were in vain

    @property
    def messages(self) -> Sequence[Message]:
        """All turns so far, the budget's notes included."""
        return tuple(self._conversation.messages)

    def hear(self, text: str) -> None:
        """Somebody says something; the model answers at the next `step`."""
        self._conversation.add(say("user", text))
        self._heard = True

    async def step(self) -> ChatStep:
        """One answer of the model, and the calls it asks for.

        Raises:
            CallDenied: a rule denied the model call.
            ModelFailed: all attempts failed.
            RunFault: it went round in circles, and went on after the answer that had to be the last; the run is
                exhausted.
        """
        self._check_goes_on()
        turn = await call_model(
            self.run.context,
            ModelCall(
                self._model,
                self._conversation,
                self._specs,
                self._digest,
                settings=self._settings,
                heard=self._heard,
                cache=self._cache,
                accepts=None if self._cache is None else self._accepts,
            ),
        )
        self._heard = False
        self._beyond = self._beyond + 1 if turn.last and self._conversation.level == LAST else 0
        self._conversation.add_known(turn.message, turn.ref)
        calls = turn.message.tool_calls
        results: list[Part] = []
        if calls and turn.last:
            results = [ToolResult(call.id, call.name, "not done: no tools any more", "denied") for call in calls]
        elif calls:
            results = await use_tools(self.run, self._tools, calls)
        if results:
            self._conversation.add(Message("tool", results))
        return ChatStep(turn.message.text, [part for part in results if isinstance(part, ToolResult)], turn.last)

    def _accepts(self, message: Message) -> bool:
        """Whether the tools that an answer asks for are there and take what it gives them."""
        try:
            for call in message.tool_calls:
                tool = self._tools[call.name]
                if isinstance(tool, Tool):
                    tool.definition.read_args(call.args)
        except (ValueError, KeyError, InputInvalid):
            return False
        return True

    def _check_goes_on(self) -> None:
        """An answer beyond the last is in vain as a call is: from the limit on they count up to the stop."""
        spirals = self.run.context.facts.spirals
        if self._heard:
            self._beyond = 0
        if spirals is not None and self._beyond and spirals.limit + self._beyond > spirals.stop:
            words = f"{self._beyond} answers that had to be the last one did not end the work"
            raise RunFault("exhausted", "spiral", words, needed=["code that ends with the step that says `last`"])

    async def reply(self, text: str) -> str:
        """Say something to the model and let it use its tools until it answers in words; those words.

        Raises:
            CallDenied, ModelFailed: as `step`.
        """
        self.hear(text)
        while True:
            step = await self.step()
            if step.last or not step.results:
                return step.text
