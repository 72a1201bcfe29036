"""Mask2Former: options, adapter, network."""
