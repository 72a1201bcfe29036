"""A trained network answers for images that belong to no suite: windows, tables of predictions, pictures."""
