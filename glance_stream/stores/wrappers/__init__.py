"""Stores over stores: time limits, retries, bandwidth. ``wrapping.py`` says which of them a store gets, and in which order."""
