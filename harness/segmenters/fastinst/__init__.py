"""This folder holds FastInst: options, adapter, network, and the reader of its authors' files."""
