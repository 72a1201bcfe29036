"""Backbones of the DeepLab line: ResNet, (Scaled) Wide ResNet, Axial-ResNet and MaX-S as one family."""
