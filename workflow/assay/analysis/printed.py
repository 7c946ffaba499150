"""What a study has for the words of a paper: data sets, models, attacks."""

from __future__ import annotations

from typing import Any

from assay.analysis.attack_set import AttackSet, of_word
from assay.analysis.brief import StudyBrief


def id_of(study: StudyBrief, kind: str, word: str) -> str | None:
    """The id of a data set or model, substitutes put in; None if the study maps no such word.

    Args:
        study: its ``reported`` maps the paper's words to ids, ``substitutes`` ids to substitutes.
        kind: ``datasets`` or ``models``.
        word: the paper's word.

    Example:
        >>> from assay.analysis.brief import Printed
        >>> id_of(StudyBrief(reported=Printed(models={"GBZ": "gbz_as_coded"})), "models", "GBZ")
        'gbz_as_coded'
    """
    name = study.reported.words(kind).get(word)
    return None if name is None else study.substitutes.get(kind, {}).get(name, name)


def attack_of(study: StudyBrief, row: Any) -> AttackSet | None:
    """What a printed number is measured under; None if the study has nothing for it.

    Args:
        study: its ``reported.attacks`` maps words (:func:`assay.analysis.attack_set.of_word`); its
            ``reported.sweeps`` maps a ``setting`` to the attack of each ``level``.
        row: a row of :func:`assay.foundation.reported.read_reported`, or of the ledger.

    Example:
        >>> from types import SimpleNamespace
        >>> row = SimpleNamespace(attack="PGD", norm="Linf", setting="EOT runs", level="3")
        >>> from assay.analysis.brief import Printed
        >>> sweeps = {"EOT runs": {"3": "pgd_linf_draws_3"}}
        >>> attack_of(StudyBrief(reported=Printed(sweeps=sweeps)), row)
        AttackSet(worst_case='', name='pgd_linf_draws_3')
    """
    if row.setting:
        named = study.reported.sweeps.get(row.setting, {}).get(row.level)
        return None if named is None else AttackSet.of(named)
    return of_word(study.reported.attacks.get(row.attack or "none"), row.norm)
