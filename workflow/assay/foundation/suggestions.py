"""What somebody meant who wrote a name that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Keys of the configuration under their former names, by what they are called now; a dot leads to a
# key below another one.
FORMER = {
    "attack_draws": "eot_samples",
    "draws": "eot_samples",
    "explained": "measurements.reconstructions",
    "features": "measurements.features",
    "importance": "measurements.importance",
    "leave_out": "exclude",
    "parts": "subsets",
    "recipe": "objective",
    "replay_flips": "prediction_flips",
    "reconstructions": "measurements.reconstructions",
    "replays": "repeats",
    "saliency": "measurements.saliency",
    "stand_ins": "substitutes",
    "starts_from": "init_from",
    "twin_significance": "correction_significance",
    "union_gap": "worst_case_gap",
    "weights_from": "shares_weights_with",
}


def nearest(name: object, known: Iterable[object]) -> str | None:
    """The known name that an unknown one probably means: its new name, else the nearest.

    Example:
        >>> nearest("replays", ["samples", "repeats"]), nearest("sample", ["samples", "repeats"])
        ('repeats', 'samples')
    """
    names = [str(one) for one in known]
    now = FORMER.get(str(name), "")
    if now.partition(".")[0] in names:
        return now
    return next(iter(difflib.get_close_matches(str(name), names, n=1)), None)


def did_you_mean(name: object, known: Iterable[object], otherwise: str) -> str:
    """The remedy for an unknown name: the name that it probably means, or `otherwise`.

    Example:
        >>> did_you_mean("sample", ["samples"], "known are samples")
        "did you mean 'samples'?"
        >>> did_you_mean("x", ["samples"], "known are samples")
        'known are samples'
    """
    near = nearest(name, known)
    return f"did you mean '{near}'?" if near else otherwise
