"""Running an agent's code against a record: replay, comparison, adoption."""
