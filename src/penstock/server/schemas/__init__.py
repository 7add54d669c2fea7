"""What the API takes and gives, as pydantic models: the source of its OpenAPI description.

Times are integers: microseconds since the epoch (UTC); durations microseconds too, where a name does not say
``_seconds``. Money is integer nano-dollars (1 USD = 10**9). Both stay below 2**53, so JSON readers keep them exact.
"""
