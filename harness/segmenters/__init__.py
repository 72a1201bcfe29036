"""Segmentation networks behind one protocol, and the engine that trains them."""
