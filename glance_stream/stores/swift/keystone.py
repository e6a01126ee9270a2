"""Tokens from Keystone, by keystoneauth1."""

from __future__ import annotations

import time
from contextlib import closing

from glance_stream.errors import StoreDenied, StoreError, StoreUnavailable
from glance_stream.stores.swift.connection import Network
from glance_stream.stores.swift.options import SwiftOptions

try:
    import requests  # keystoneauth1 depends on it
    from keystoneauth1 import exceptions, session
    from keystoneauth1.access import AccessInfo
    from keystoneauth1.identity import v3
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None


def authenticate(options: SwiftOptions, network: Network) -> tuple[str, str, float | None]:
    """The storage URL, a token, and when it ends by time.monotonic. Raises StoreDenied, StoreUnavailable, StoreError."""
    store_id = network.store_id
    if MISSING is not None:
        needs = "auth_version 3 needs keystoneauth1: pip install 'glance-stream[swift]', or Debian's python3-keystoneauth1"
        raise StoreError(store_id, needs) from MISSING
    try:
        access = _access(options, network)
        url = options.endpoint or access.service_catalog.url_for(
            service_type=options.service_type, interface=options.endpoint_type, region_name=options.region
        )
    except (exceptions.Unauthorized, exceptions.Forbidden) as error:
        raise StoreDenied(store_id, f"{options.auth_url} refuses the credentials (status {error.http_status})") from error
    except (exceptions.RetriableConnectionFailure, exceptions.HttpServerError) as error:
        raise StoreUnavailable(store_id, f"{options.auth_url} can't be reached: {type(error).__name__}") from error
    except exceptions.CatalogException as error:
        place = f"{options.service_type}, {options.endpoint_type}, region {options.region or 'any'}"
        raise StoreError(store_id, f"{options.auth_url} names no storage URL for {place}") from error
    except exceptions.ClientException as error:
        raise StoreError(store_id, f"{options.auth_url}: {type(error).__name__}") from error
    if not url or not access.auth_token:
        raise StoreError(store_id, f"{options.auth_url} gave no token, or no storage URL")
    ends = None if access.expires is None else time.monotonic() + access.expires.timestamp() - time.time()
    return url, access.auth_token, ends


def _access(options: SwiftOptions, network: Network) -> AccessInfo:
    # Not kept: tokens are asked for rarely, and somebody would have to close a pool of connections.
    with closing(requests.Session()) as http:
        asking = session.Session(
            session=http,
            verify=False if options.insecure else options.ca or True,
            timeout=network.connect_timeout + network.read_timeout,
        )
        return _plugin(options).get_access(asking)


def _plugin(options: SwiftOptions) -> v3.Password | v3.ApplicationCredential:
    if options.uses_application_credential:
        return v3.ApplicationCredential(
            options.auth_url,
            options.application_credential_secret or "",
            application_credential_id=options.application_credential_id,
        )
    project, user = options.project, options.user
    if project is None and options.project_id is None and user is not None and ":" in user:
        project, _, user = user.partition(":")  # glance_store's way to write both
    user_domain, project_domain = _domains(options)
    return v3.Password(
        options.auth_url,
        options.key or "",
        username=user,
        user_domain_id=user_domain[0],
        user_domain_name=user_domain[1],
        project_id=options.project_id,
        project_name=project,
        project_domain_id=project_domain[0],
        project_domain_name=project_domain[1],
    )


def _domains(options: SwiftOptions) -> tuple[tuple[str | None, str | None], tuple[str | None, str | None]]:
    """Ids and names of the user's and the project's domain: Keystone's first one unless another is given."""
    user = (options.user_domain_id, options.user_domain)
    project = (options.project_domain_id, options.project_domain)
    first = ("default", None)
    by_name = options.project_id is None
    return (user if any(user) else first), (project if any(project) else first if by_name else (None, None))
