"""This folder holds Mask2Former: options, adapter, network."""
