"""The wire formats that the gateway speaks, one a file."""

from penstock.integrations.gateway.shapes.anthropic import MESSAGES
from penstock.integrations.gateway.shapes.base import Ask, Reply, Shape, Stream, Unfit
from penstock.integrations.gateway.shapes.chat import CHAT
from penstock.integrations.gateway.shapes.embeddings import EMBEDDINGS
from penstock.integrations.gateway.shapes.responses import RESPONSES

__all__ = ["CHAT", "EMBEDDINGS", "MESSAGES", "RESPONSES", "Ask", "Reply", "Shape", "Stream", "Unfit"]
