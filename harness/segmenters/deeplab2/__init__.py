"""Checkpoints of Google's DeepLab2 as networks of the harness."""
