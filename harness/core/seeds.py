"""Every random draw of the harness starts from a seed made of names: `derive(seed, what, which, ...)`.

A draw then depends on the item it is made for and on nothing else: not on order, batch, worker or resume.
"""

import hashlib


def derive(seed: int, *parts: str | int) -> int:
    """Return a 63-bit seed from `seed` and the parts that name the draw (BLAKE2b; the same on every machine)."""
    text = "\x1f".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
