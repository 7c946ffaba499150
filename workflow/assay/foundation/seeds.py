"""Seeds from names: the same name gives the same randomness, whatever ran before it."""

from __future__ import annotations

import hashlib

import numpy as np


def seed_for(*names: object) -> int:
    """The 63-bit seed of a name.

    Args:
        *names: parts of the name, for example ``("train", dataset, split, model)``; anything
            with a stable ``str``. ``("a", "bc")`` and ``("ab", "c")`` differ.

    Returns:
        An integer in [0, 2**63), fit for ``torch.Generator.manual_seed`` and numpy alike.

    Example:
        >>> seed_for("train", "digits", "kfold_0") == seed_for("train", "digits", "kfold_0")
        True
    """
    text = "\x1f".join(str(name) for name in names)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def rng_for(*names: object) -> np.random.Generator:
    """A numpy generator seeded by :func:`seed_for`."""
    return np.random.default_rng(seed_for(*names))
