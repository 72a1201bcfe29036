"""This folder holds the shipped tiny checkpoints (tiny/), and finds and hashes checkpoint files.

They stand in for Stable Diffusion and its kin where there is no network and no GPU: same formats, same code paths,
64 x 64 pixels. `harness.tiny_training` made them. Importing this package imports no torch.
"""

from pathlib import Path

TINY = Path(__file__).resolve().parent / "tiny"
"""Folder of the shipped checkpoints: tokenizer, text_encoder and vae once, a UNet for each generator, clip, judge."""
