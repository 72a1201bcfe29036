"""A trained network predicts for images that belong to no suite; this folder has the windows, the files and the
pictures."""
