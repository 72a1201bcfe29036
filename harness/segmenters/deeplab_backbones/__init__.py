"""The backbones of the DeepLab line are one family: ResNet, (Scaled) Wide ResNet, Axial-ResNet and MaX-S."""
