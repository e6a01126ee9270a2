"""One module a revision (see the package above)."""
