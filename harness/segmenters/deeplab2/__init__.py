"""This folder reads checkpoints of Google's DeepLab2 as networks of the harness."""
