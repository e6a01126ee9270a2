"""Scripted doubles that fail, hang or lie at one named step, for the tests of every layer."""
