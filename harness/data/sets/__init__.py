"""Data sets of others are read as they lie: their files become frames, and their classes labels."""
