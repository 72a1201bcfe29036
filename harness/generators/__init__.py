"""Generators paint crops: diffusion models and controls, behind one protocol."""
