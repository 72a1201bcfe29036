"""Tells whether synthesised instances really make a segmenter better."""

__version__ = "0.1.0"
