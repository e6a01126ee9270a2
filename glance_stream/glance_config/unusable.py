"""What makes one store of a configuration unusable, and none of the others."""

from __future__ import annotations


class Unusable(Exception):
    """Why a store can't be used. The words never hold a value of a secret option."""
