"""What the server refuses before, or instead of, doing what was asked."""

from penstock.kernel.errors.base import PenstockError
from penstock.kernel.errors.usage import UsageError


class ServerError(PenstockError):
    """The server refused a request; nothing was done."""

    code = "server"


class Unauthenticated(ServerError):
    """A request without a key, or with one that is not known, expired or revoked; or whose session is over."""

    code = "unauthenticated"
    hint = "send a key: Authorization: Bearer pk_…; `penstock keys make` makes one"


class KeyExpired(Unauthenticated):
    """The key was right, but its time is over."""

    code = "key_expired"
    hint = "ask for a new key: penstock keys make"


class KeyRevoked(Unauthenticated):
    """The key was right, but it was revoked."""

    code = "key_revoked"
    hint = "ask for a new key: penstock keys make"


class PermissionMissing(ServerError):
    """The caller is known, but may not do this. ``fields["permission"]`` is the one that is needed."""

    code = "permission_missing"
    hint = "ask somebody with a role that has it; docs/reference/permissions.md lists roles and permissions"


class CrossSite(ServerError):
    """A change that was asked for by a signed-in browser without the session's token, or from another site's page."""

    code = "cross_site"
    hint = "send the session's token (GET /v1/me, field csrf) in the header X-CSRF-Token; a program uses a key instead"


class TooManyFailures(ServerError):
    """Too many failed attempts to sign in, or unknown keys, from one address within a minute."""

    code = "too_many_failures"
    hint = "wait a minute; check the key that is configured"


class SignInFailed(ServerError):
    """The identity provider did not confirm who it is, or what it said cannot be trusted or gives no role."""

    code = "sign_in_failed"
    hint = "try again; if it stays so, compare PENSTOCK_OIDC_CLIENT_ID and the settings beside it with the provider's"


class ProviderUnavailable(ServerError):
    """The identity provider cannot be reached, or does not answer as OpenID Connect has it."""

    code = "identity_provider_unavailable"
    hint = "sign in with a key meanwhile; check PENSTOCK_OIDC_ISSUER and the network"


class RequestInvalid(ServerError):
    """The request's body, query or headers do not have the form that is documented. ``fields["errors"]`` says where."""

    code = "request_invalid"
    hint = "see /v1/openapi.json for the form"


class RequestTooLarge(ServerError):
    """The request's body, address or headers are over their bound."""

    code = "request_too_large"
    hint = "send less at a time, or raise PENSTOCK_HTTP_BODY_MAX_BYTES"


class RequestTimedOut(ServerError):
    """The request was not answered in time; what it asked for may still have been done."""

    code = "request_timed_out"
    hint = "ask again; with an Idempotency-Key nothing is done twice"


class ServerBusy(ServerError):
    """As many requests as the server takes on at a time are under way, or it is stopping; nothing was done."""

    code = "server_busy"
    hint = "try again in a moment"


class RouteUnknown(ServerError):
    """There is nothing at this address."""

    code = "route_unknown"
    hint = "see /v1/openapi.json for what there is"


class MethodUnknown(ServerError):
    """The address is there, but not for this method."""

    code = "method_unknown"
    hint = "see the header Allow, or /v1/openapi.json"


class MediaTypeUnknown(ServerError):
    """The body is not JSON, or is not said to be."""

    code = "media_type_unknown"
    hint = "send JSON with the header Content-Type: application/json"


class KeyUnknown(UsageError):
    """No such key for this tenant."""

    code = "key_unknown"
    hint = "see `penstock keys ls`"


class KeysFull(UsageError):
    """The tenant has as many keys as it may have."""

    code = "keys_full"
    hint = "revoke some, or raise PENSTOCK_KEYS_MAX"


class RoleUnknown(UsageError):
    """A role or permission that there is not, or a permission that the roles, or whoever makes the key, do not have."""

    code = "role_unknown"
    hint = "docs/reference/permissions.md lists roles and permissions"


class ListensPublicly(UsageError):
    """The server was asked to listen beyond this machine without being told that this is meant."""

    code = "listens_publicly"
    hint = "add --listen-publicly, and put a proxy with TLS in front of it; or use --host 127.0.0.1"


class WebhookUnknown(UsageError):
    """No such endpoint for this tenant, or no such delivery to it."""

    code = "webhook_unknown"
    hint = "see `penstock webhooks ls`"


class WebhooksFull(UsageError):
    """The tenant has as many endpoints as it may have."""

    code = "webhooks_full"
    hint = "remove some, or raise PENSTOCK_WEBHOOKS_MAX"


class WebhookTargetRefused(UsageError):
    """An endpoint's address is not one that may be called: not https, or not on the public network."""

    code = "webhook_target_refused"
    hint = "see PENSTOCK_WEBHOOK_ALLOWED_NETWORKS and PENSTOCK_WEBHOOK_ALLOW_HTTP for targets in your own network"
