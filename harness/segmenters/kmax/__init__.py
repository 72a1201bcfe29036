"""This folder holds kMaX-DeepLab, the k-means mask transformer."""
