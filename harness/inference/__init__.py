"""This folder runs a trained network on images that belong to no suite; it holds the windows, the files and the
pictures."""
