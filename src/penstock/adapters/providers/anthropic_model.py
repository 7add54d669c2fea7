"""Anthropic's model as the library has it, except that it survives an answer without usage.

Anthropic itself always sends usage; not all servers that speak its language do. The library's class raises on such an
answer, which throws away what was paid for; here it comes back, as one whose usage is not known.
"""

from typing import Any

from anthropic.types.beta import BetaMessage, BetaRawMessageStartEvent, BetaUsage
from pydantic_ai.models.anthropic import AnthropicModel


class TolerantAnthropicModel(AnthropicModel):
    """See the module. In a stream, only the opening usage may be missing, not that of the closing event."""

    async def _create_message(self, *args: Any, **kwargs: Any) -> Any:
        answer = await super()._create_message(*args, **kwargs)
        if isinstance(answer, BetaMessage):
            _mend(answer)
        elif not isinstance(answer, str):
            first = await answer.peek()
            if isinstance(first, BetaRawMessageStartEvent):
                _mend(first.message)
        return answer


def _mend(message: BetaMessage | None) -> None:
    # The SDK does not validate what it receives: fields that are missing are None, whatever their type says. A usage
    # of nothing reads as unknown later, for no prompt is empty.
    if message is not None and message.usage is None:
        message.usage = BetaUsage(input_tokens=0, output_tokens=0)
