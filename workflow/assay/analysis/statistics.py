"""Intervals and paired tests: is a difference between two classifiers real, and could it be seen?

Everything takes outcome rows and gives a tidy frame. ``docs/statistics.md`` says in words what
each number means and why this test and not another. This module gathers what its neighbours hold.
"""

from __future__ import annotations

from assay.analysis.between_splits import between_splits
from assay.analysis.cochran import cochran_q
from assay.analysis.families import (
    ALPHA,
    Families,
    benjamini_hochberg,
    benjamini_hochberg_levels,
    holm,
    holm_levels,
)
from assay.analysis.intervals import bonett_price, wilson
from assay.analysis.mcnemar import POWER, exact_p, mcnemar, mid_p, minimum_detectable_difference
from assay.analysis.paired import CELL, POOLED, Paired, repeated_schemes
from assay.analysis.ranking import in_best_group, leaders, letter_groups, letters_of, ranking
from assay.analysis.resampled_t import corrected_resampled_t, resampled_t, split_interval

__all__ = [
    "ALPHA",
    "CELL",
    "POOLED",
    "POWER",
    "Families",
    "Paired",
    "benjamini_hochberg",
    "benjamini_hochberg_levels",
    "between_splits",
    "bonett_price",
    "cochran_q",
    "corrected_resampled_t",
    "exact_p",
    "holm",
    "holm_levels",
    "in_best_group",
    "leaders",
    "letter_groups",
    "letters_of",
    "mcnemar",
    "mid_p",
    "minimum_detectable_difference",
    "ranking",
    "repeated_schemes",
    "resampled_t",
    "split_interval",
    "wilson",
]
