"""How the shipped tiny checkpoints are trained; nothing that runs a suite imports this folder."""
