"""Data sets on disk: labels, frames, label maps, predictions, and how training frames are drawn from them."""
