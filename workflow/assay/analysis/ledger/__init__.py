"""The ledger: every number that a paper prints, beside this run's number, with a verdict.

A printed accuracy counts as *reproduced* if it lies within this run's 95 % interval widened by
``tolerance`` on both sides, and as *differs* otherwise. *not run* means that this run has no such
number; the reason says whether the study lacks it or the scale leaves it out. *not comparable*
means that this run has a number but the comparison would mean nothing: a substitute for the data
set or network, too few images, or a training or an attack that the scale cut. What a cut makes
incomparable it makes so everywhere: the curves of a training and all accuracies of its network,
all accuracies under an attack. ``agrees`` says all the same whether the printed number lies
within the widened interval. Settings and sizes are compared exactly and, like counts and
durations, counted apart from results (``kind``). No row is ever dropped.

What a number is stands in the columns of its row (:mod:`assay.foundation.reported`). The column
``metric`` chooses the comparison; ``results`` and ``settings`` hold them.
"""

from assay.analysis.ledger.agreement import (
    COMPARED_VERDICTS,
    COUNT,
    CUT,
    DURATION,
    RESULT,
    RULE,
    SETTING,
    VERDICTS,
)
from assay.analysis.ledger.table import COLUMNS, ledger
from assay.analysis.ledger.words import at_reduced_budget, counts_in_words, rule_in_words

__all__ = [
    "COLUMNS",
    "COMPARED_VERDICTS",
    "COUNT",
    "CUT",
    "DURATION",
    "RESULT",
    "RULE",
    "SETTING",
    "VERDICTS",
    "at_reduced_budget",
    "counts_in_words",
    "ledger",
    "rule_in_words",
]
