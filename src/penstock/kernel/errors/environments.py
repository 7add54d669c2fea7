"""Where something may be done: an installation's environment, and what may be reached from it."""

from penstock.kernel.errors.gates import CallFailed
from penstock.kernel.errors.usage import UsageError


class EnvironmentInvalid(UsageError):
    """The environments file cannot be read, or names what there is not; ``fields["problems"]`` are all of them."""

    code = "environment_invalid"
    hint = "`penstock environments check` says what is in force; docs/how-to/environments.md shows a whole file"


class EnvironmentForeign(UsageError):
    """What was to be changed belongs to another environment than this installation's."""

    code = "environment_foreign"
    hint = "do it where PENSTOCK_ENVIRONMENT is that environment"


class EgressDenied(CallFailed, PermissionError):
    """A connection to a host that the environment does not let this process reach; nothing was sent.

    Also a `PermissionError`, so that libraries treat it like a connection that a firewall refused.
    ``fields["target"]`` is the host, with its port where there was one.
    """

    code = "egress_denied"
    hint = "if it is meant to be reached from here, add it to `egress` of the environment in the environments file"
