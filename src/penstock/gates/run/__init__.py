"""One run in one worker's hands: its context, its calls, and what it has used."""
