"""Whose account a swift store is: a reference into ``swift_store_config_file``, or options of the store's own section."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glance_stream.glance_config.unusable import Unusable

if TYPE_CHECKING:
    from glance_stream.glance_config.backends import Section

# In the reference file -> in the options of our store.
OF_A_REFERENCE = {
    "auth_address": "auth_url",
    "user": "user",
    "key": "key",
    "auth_version": "auth_version",
    "application_credential_id": "application_credential_id",
    "application_credential_secret": "application_credential_secret",
    "project_name": "project",
    "project_id": "project_id",
    "project_domain_name": "project_domain",
    "project_domain_id": "project_domain_id",
    "user_domain_name": "user_domain",
    "user_domain_id": "user_domain_id",
}
CREDENTIALS = (("user", "key"), ("application_credential_id", "application_credential_secret"))


def read_reference(section: Section) -> dict[str, Any]:
    """The account's options, read as glance_store's swift/utils.py does. Raises Unusable."""
    file, name = section["swift_store_config_file"], section["default_swift_reference"]
    named = {"reference": name}
    if not file:
        found = {option: section[name] for option in OF_A_REFERENCE if (name := f"swift_store_{option}") in [*section]}
        return _checked(found, "swift_store_config_file is not set, and of the store's own options") | named
    return _checked(_read(Path(file), name), f"swift_store_config_file {file}: in [{name}]") | named


def _read(file: Path, name: str) -> dict[str, str | None]:
    parser = configparser.ConfigParser()
    try:
        parser.read_string(file.read_text(), str(file))
    except OSError as error:
        raise Unusable(f"swift_store_config_file {file}: {error.strerror}") from error
    except (configparser.Error, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", None)
        raise Unusable(f"swift_store_config_file {file}: not an ini file" + (f": line {line}" if line else "")) from None
    if not parser.has_section(name):
        raise Unusable(f"swift_store_config_file {file}: there is no [{name}]; default_swift_reference names one of its sections")
    try:
        return {option: _unquoted(parser.get(name, option, fallback=None)) for option in OF_A_REFERENCE}
    except configparser.InterpolationError:
        raise Unusable(f"swift_store_config_file {file}: in [{name}] a value refers to what is not set; write %% for %") from None


def _unquoted(value: str | None) -> str | None:
    """As glance_store's SwiftConfigParser."""
    return value[1:-1] if value and len(value) > 1 and value[0] in "\"'" and value[-1] == value[0] else value


def _checked(found: Mapping[str, str | None], where: str) -> dict[str, Any]:
    if not found["auth_address"]:
        raise Unusable(f"{where} auth_address is missing")
    chosen = next((pair for pair in reversed(CREDENTIALS) if all(found[name] for name in pair)), None)
    if chosen is None:
        raise Unusable(f"{where} there is neither user and key nor an application credential")
    unused = {name for pair in CREDENTIALS if pair != chosen for name in pair}
    options = {OF_A_REFERENCE[name]: value for name, value in found.items() if value and name not in unused}
    # Other versions than 3 mean 3 to glance_store; 1 meant itself until there was only Keystone.
    options["auth_version"] = "1" if options.get("auth_version") in ("1", "1.0") else "3"
    if chosen == CREDENTIALS[0] and options["auth_version"] == "3":
        for domain in ("project_domain", "user_domain"):
            if domain not in options:
                options.setdefault(f"{domain}_id", "default")
    return options
