"""``penstock cache``: what the cache of answers is worth, and dropping what it holds."""
