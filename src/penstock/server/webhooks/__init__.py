"""Webhooks: signing messages, finding out whether a target may be called, sending, and the loop that delivers."""
