"""What a write is about: the case it belongs to, as checks see it, and the resource it needs for its run alone."""
