"""This folder holds Panoptic-DeepLab and, with axial backbones, Axial-DeepLab."""
