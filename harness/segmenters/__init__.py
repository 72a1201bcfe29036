"""Segmenters are segmentation networks behind one protocol, with the engine that trains them."""
