"""What makes a call end early or come again: time-outs, retries, hedges."""
