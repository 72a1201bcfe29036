"""This folder holds OneFormer: options, adapter, network, and the reader of its authors' files."""
