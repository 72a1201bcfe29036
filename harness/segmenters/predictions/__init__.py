"""Predictions that were made elsewhere stand in the place of a segmenter."""
