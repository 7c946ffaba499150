"""Sentences, headings and conclusions that several kinds of tables share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from assay.analysis.checks import FAIL, lint_display
from assay.analysis.families import ALPHA, NO_FAMILY
from assay.report.tables.cells import Column, displayed
from assay.report.tables.parts import INTERVAL, Study

FAMILIES = (
    "Holm p: Holm's correction over the headline's comparisons of a data set and split scheme. q: "
    "Benjamini and Hochberg's false discovery rate over all other tests. Neither is "
    "given for attacks as published, for controls, and where all classifiers are right on all "
    "images or on none."
)

SIZE_TITLES = {"depth": "Depth", "parameters": "Parameters", "flops": "FLOPs"}

_SAFE = "patients, safe reading"


def caution_words(columns: Sequence[Column], rows: pd.DataFrame, study: Study) -> str:
    """What the display of these rows would make a reader believe, but must not (D41).

    A sound report has none: rows on different images are displayed apart.
    """
    shown, says_n = displayed(columns, rows)
    found = lint_display(shown, study, says_n)
    failed = found[found.status == FAIL]
    return "Caution: " + " ".join(failed.sentence) if len(failed) else ""


def spread_words(rows: pd.DataFrame, what: str) -> str:
    """What stands in a cell of accuracies, and what its interval does not cover."""
    several = rows.splits.max() > 1 if len(rows) else False
    sentences = (
        f"{what}{' ± standard deviation over splits' if several else ''}. Brackets: {INTERVAL}."
    )
    if several:
        return (
            f"{sentences} The interval covers the sampling of images, but not the choice of splits."
        )
    return f"{sentences} One network was trained per model, so no spread over splits is known."


def conclusions(tests: pd.DataFrame, otherwise: pd.Series) -> np.ndarray:
    """What each test of a pair lets one say; `otherwise` where its family does not reject it."""
    better = np.where(tests.difference > 0, "A better", "B better")
    words = np.where(tests.significant, better, otherwise)
    return np.where(tests.family == NO_FAMILY, "no conclusion", words)


def safe_title(study: Study, dataset: str) -> str:
    """How readers know the reading of patients that never parts a person."""
    patient = study.datasets.get(dataset, {}).get("patient") or {}
    return (patient.get("safe") or {}).get("title", _SAFE)


def reading_sentence(study: Study, datasets: pd.Series) -> str:
    """What the two readings of patients are, of the data sets that have both."""
    titles = list(dict.fromkeys(safe_title(study, name) for name in datasets))
    if not titles:
        return ""
    return (
        "Patients: identified by the file names of the images. This may count one person as two "
        f"patients. {' / '.join(title[0].upper() + title[1:] for title in titles)}: a coarser "
        "identification. It never counts one person as two, but may count two persons as one."
    )


def interval_text(low: float, high: float) -> str:
    return "" if pd.isna(low) else f" [{low:+.3f}, {high:+.3f}]"


def verdict_sentence(tests: pd.DataFrame, claim: str, what: str) -> str:
    """How many of the tests show that leaked or leaky is better, worse, or neither."""
    known = tests[tests.holm_p.notna()] if len(tests) else tests
    if known.empty:
        return ""
    shown = (known.holm_p <= ALPHA) & ~((known.low <= 0) & (known.high >= 0))
    up, down = (
        int((shown & (known.difference > 0)).sum()),
        int((shown & (known.difference < 0)).sum()),
    )
    total = len(known)
    sentences = f"Of {total} tests of a {what}, {up} show{'s' if up == 1 else ''} that {claim}"
    sentences += f", {down} show{'s' if down == 1 else ''} the opposite" if down else ""
    return with_inconclusive(sentences, total - up - down)


def with_inconclusive(sentence: str, rest: int) -> str:
    """A sentence on tests that show something, and how many show nothing.

    Example:
        >>> with_inconclusive("Of 3 tests, 2 show a difference", 1)
        'Of 3 tests, 2 show a difference; 1 is inconclusive.'
    """
    if not rest:
        return f"{sentence}."
    return f"{sentence}; {rest} {'is' if rest == 1 else 'are'} inconclusive."
