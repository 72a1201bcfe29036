"""Result rows hold what was measured or printed; this folder reads and compares them."""
