"""The ledger in sentences: how many numbers have which verdict, and by what rule."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from assay.analysis.ledger.agreement import RESULT, RULE, SETTING, VERDICTS


def at_reduced_budget(table: pd.DataFrame) -> pd.Series:
    """Which rows of a ledger have no verdict only because the scale cut training or attack."""
    return (table.kind == RESULT) & (table.verdict == "not comparable") & table.agrees.notna()


def counts_in_words(table: pd.DataFrame) -> str:
    """How many printed results, settings and other numbers a ledger has and what became of them."""
    results = table[table.kind == RESULT]
    sentences = [_counted(results, "printed result")]
    less = results[at_reduced_budget(results)]
    if len(less):
        sentences.append(
            f"{len(less)} of the results that are not comparable were run with less training or a "
            f"shorter attack than printed; {int(less.agrees.sum())} of these {len(less)} printed "
            "values lie within this run's widened interval."
        )
    settings = table[table.kind == SETTING]
    if len(settings):
        sentences.append(_counted(settings, "printed setting or size", "printed settings or sizes"))
    others = table[~table.kind.isin((RESULT, SETTING))]
    if len(others):
        verdictless = "number has" if len(others) == 1 else "numbers have"
        sentences.append(
            f"{len(others)} other printed {verdictless} no verdict (confusion counts, durations)."
        )
    return " ".join(sentences)


def _counted(rows: pd.DataFrame, one: str, many: str = "") -> str:
    verdicts = rows.verdict.value_counts()
    counts = ", ".join(f"{verdicts[name]} {name}" for name in VERDICTS if name in verdicts)
    return f"{len(rows)} {one if len(rows) == 1 else many or one + 's'}: {counts or 'none'}."


def rule_in_words(rule: Mapping[str, float] | None = None) -> str:
    """The rule as a sentence for captions."""
    rule = {**RULE, **(rule or {})}
    return (
        "Reproduced: the printed accuracy lies within this run's 95 % interval widened by "
        f"{rule['tolerance']:g} on both sides (losses: within {rule['relative_tolerance']:.0%}). "
        f"A printed value has no verdict if fewer than {rule['minimum_n']:g} images were tested, "
        f"or if it lies inside an interval wider than {rule['widest_interval']:g}."
    )
