"""Authorization server metadata (RFC 8414): true to what is served, nothing announced ahead."""

from __future__ import annotations

from collections.abc import Sequence

from cryogate.broker import details
from cryogate.broker.device import DEVICE_CODE
from cryogate.broker.status_list import PATH as STATUS_PATH
from cryogate.tokens.access import ADMIN_SCOPE
from cryogate.tokens.keys import CLIENT_ALGS, ES256

TOKEN_PATH = "/oauth2/token"  # noqa: S105 - a path
REVOKE_PATH = "/oauth2/revoke"
INTROSPECT_PATH = "/oauth2/introspect"
DEVICE_PATH = "/oauth2/device_authorization"
ENROL_PATH = "/oauth2/enrol"
ROTATE_PATH = "/oauth2/rotate_key"
VERIFICATION_PATH = "/device"
JWKS_PATH = "/.well-known/jwks.json"
METADATA_PATH = "/.well-known/oauth-authorization-server"
_ENDPOINTS = {"token": TOKEN_PATH, "revocation": REVOKE_PATH, "introspection": INTROSPECT_PATH}


TLS_CLIENT_AUTH = "tls_client_auth"
SELF_SIGNED = "self_signed_tls_client_auth"


def metadata(
    issuer: str, grant_types: Sequence[str], tls_methods: Sequence[str] = ()
) -> dict[str, object]:
    """The document for `METADATA_PATH`. ``tls_methods`` are the ways of RFC 8705 that are open.

    There is no authorization endpoint, so there are no response types and no ``iss`` of RFC 9207.
    """
    methods, algs = ["private_key_jwt", *tls_methods], sorted(CLIENT_ALGS)
    document: dict[str, object] = {
        "issuer": issuer,
        "jwks_uri": issuer + JWKS_PATH,
        "response_types_supported": [],
        "grant_types_supported": list(grant_types),
        "scopes_supported": [ADMIN_SCOPE],
        "authorization_details_types_supported": [details.TYPE],
        "introspection_signing_alg_values_supported": sorted(ES256),
        "status_list_aggregation_endpoint": issuer + STATUS_PATH,
        "dpop_signing_alg_values_supported": sorted(ES256),
    }
    if DEVICE_CODE in grant_types:
        document["device_authorization_endpoint"] = issuer + DEVICE_PATH
    if tls_methods:
        document["tls_client_certificate_bound_access_tokens"] = True
    for name, path in _ENDPOINTS.items():
        document[f"{name}_endpoint"] = issuer + path
        document[f"{name}_endpoint_auth_methods_supported"] = methods
        document[f"{name}_endpoint_auth_signing_alg_values_supported"] = algs
    return document
