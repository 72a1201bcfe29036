"""What paints: diffusion models and controls, behind one protocol."""
