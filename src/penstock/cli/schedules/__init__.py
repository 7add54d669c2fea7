"""``penstock schedules``: what is to run again and again."""
