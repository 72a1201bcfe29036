"""The embedded tiny checkpoints (tiny/) and how each of them was trained (train.py).

They stand in for Stable Diffusion and its kin where there is no network and no GPU: same formats, same code paths,
64 x 64 pixels. Importing this package imports no torch.
"""

from pathlib import Path

TINY = Path(__file__).resolve().parent / "tiny"
"""Folder of the shipped checkpoints: tokenizer, text_encoder and vae once, a UNet for each generator, clip, judge."""
