"""This folder trains the shipped tiny checkpoints; nothing that runs a suite imports it."""
