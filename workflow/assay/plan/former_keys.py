"""Keys of the configuration under their former names, for the message about an unknown key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

FORMER = {
    "attack_draws": "eot_samples",
    "draws": "eot_samples",
    "explained": "reconstructions",
    "leave_out": "exclude",
    "parts": "subsets",
    "recipe": "objective",
    "replay_flips": "prediction_flips",
    "replays": "repeats",
    "stand_ins": "substitutes",
    "starts_from": "init_from",
    "twin_significance": "correction_significance",
    "union_gap": "worst_case_gap",
    "weights_from": "shares_weights_with",
}


def meant(name: object, known: Iterable[str]) -> str | None:
    """The known name that an unknown one probably means: its new name, else the nearest.

    Example:
        >>> meant("replays", ["samples", "repeats"]), meant("sample", ["samples", "repeats"])
        ('repeats', 'samples')
    """
    known = list(known)
    renamed = FORMER.get(str(name))
    if renamed in known:
        return renamed
    return next(iter(difflib.get_close_matches(str(name), known, n=1)), None)
