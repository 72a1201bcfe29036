"""This folder computes segmentation scores: statistics of frames, the metrics made of them, and intervals."""
