"""Why no TLS connection came about, in words that say what to change."""

from __future__ import annotations

import ssl

# What OpenSSL calls an answer that is no TLS: the name differs by version, and by what the server says.
_NOT_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL"}


def tls_refusal(error: ssl.SSLError, server: str) -> str | None:
    """None for what may pass, such as a connection that was cut. ``server``: its host and port."""
    if isinstance(error, ssl.SSLCertVerificationError):
        untrusted = f"the certificate of {server} is not trusted ({error.verify_message})"
        return f"{untrusted}: name its CA with the option ca, or correct the URL"
    if error.reason in _NOT_TLS:
        return f"{server} does not answer in TLS: if it speaks plain http, write http:// and not https://"
    return None
