"""The gateway: programs that speak OpenAI's or Anthropic's wire formats, their calls as calls of a run."""
