"""The synthesis decides which instances of a frame are repainted, with which prompt, and how the result becomes a
frame."""
