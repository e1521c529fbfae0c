"""Damage of one bit, as a bad disk or cable leaves it."""

import random


def flip_bit(content: bytes, rng: random.Random) -> bytes:
    """Return the content with one random bit flipped."""
    bits = bytearray(content)
    bits[rng.randrange(len(bits))] ^= 1 << rng.randrange(8)
    return bytes(bits)
