"""Result rows: what was measured or printed, and how rows compare."""
