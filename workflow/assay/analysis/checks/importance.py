"""D34: does a likelihood rest on enough of the samples that estimate it?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from assay.analysis.checks.findings import FLAG, PASS, Finding, percent


def importance_check(frame: pd.DataFrame, least: float) -> Finding | None:
    """D34: the effective sample size of importance sampling, on the median image.

    Args:
        frame: one model's rows with ``ess``: effective sample size as a share of the samples drawn,
            in (0, 1].
        least: the share below which it flags.

    Returns:
        The median share, or None where no row has one.

    Raises:
        ValueError: a share lies outside [0, 1].
    """
    ess = frame.ess.to_numpy(float)
    ess = ess[~np.isnan(ess)]
    if not len(ess):
        return None
    if ess.min() < 0 or ess.max() > 1 + 1e-6:
        raise ValueError("an effective sample size is a share of the samples, in [0, 1]")
    median = float(np.median(ess))
    sentence = f"The median effective sample size is {percent(median)} of the importance samples."
    if median >= least:
        return Finding(median, PASS, sentence)
    return Finding(median, FLAG, f"{sentence} The prediction depends on a few samples.")
