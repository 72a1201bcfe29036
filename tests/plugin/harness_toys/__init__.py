"""Toy parts for the harness: what the how-to pages build."""
