"""kMaX-DeepLab, the k-means mask transformer."""
