"""Suites are read here and turned into steps with content keys; nothing is run."""
