"""What a study has for the words of a paper: data sets, models, attacks."""

from __future__ import annotations

from typing import Any

from assay.analysis.attack_set import AttackSet, of_word
from assay.analysis.brief import StudyBrief, Variants


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


def model_of(study: StudyBrief, row: Any) -> str | None:
    """The id of the model that a printed number is of; None if the study has none for it.

    Args:
        study: its ``reported.variants`` say what a word means on a data set or at a level of a
            setting; other words are those of ``reported.models``.
        row: a row of :func:`assay.foundation.reported.read_reported`, or of the ledger.

    Example:
        >>> from types import SimpleNamespace
        >>> from assay.analysis.brief import Printed, Variant
        >>> variant = Variant(setting="eps_ap", levels={"6/255": "api_6"})
        >>> study = StudyBrief(reported=Printed(variants={"API-Net": (variant,)}))
        >>> row = SimpleNamespace(model="API-Net", dataset="", setting="eps_ap", level="6/255")
        >>> model_of(study, row)
        'api_6'
    """
    variants = study.reported.variants
    if name := variant_in(variants, study, row):
        return study.substitutes.get("models", {}).get(name, name)
    if varied(study, row):
        return None
    return id_of(study, "models", row.model)


def variant_in(variants: Variants, study: StudyBrief, row: Any) -> str | None:
    """The id that the first variant which fits a printed number has for it.

    Args:
        variants: of the study, or those that it would have without exclusions of the scale.
        study: the study, for ids of data sets.
        row: as of :func:`model_of`.
    """
    dataset = id_of(study, "datasets", row.dataset)
    for one in variants.get(row.model, ()):
        if one.setting == row.setting and (not one.datasets or dataset in one.datasets):
            name = one.levels.get(row.level) if one.setting else one.model
            if name:
                return name
    return None


def varied(study: StudyBrief, row: Any) -> bool:
    """Whether the setting of a printed number is one of models, by the study's variants."""
    both = (study.reported.variants, study.excluded.variants)
    return bool(row.setting) and any(
        one.setting == row.setting
        for variants in both
        for several in variants.values()
        for one in several
    )


def attack_of(study: StudyBrief, row: Any) -> AttackSet | None:
    """What a printed number is measured under; None if the study has nothing for it.

    Args:
        study: its ``reported.attacks`` maps words (:func:`assay.analysis.attack_set.of_word`); its
            ``reported.sweeps`` maps a ``setting`` to the attack of each ``level``, unless the
            setting is one of models (:func:`varied`).
        row: a row of :func:`assay.foundation.reported.read_reported`, or of the ledger.

    Example:
        >>> from types import SimpleNamespace
        >>> row = SimpleNamespace(attack="PGD", norm="Linf", setting="EOT runs", level="3")
        >>> from assay.analysis.brief import Printed
        >>> sweeps = {"EOT runs": {"3": "pgd_linf_draws_3"}}
        >>> attack_of(StudyBrief(reported=Printed(sweeps=sweeps)), row)
        AttackSet(worst_case='', name='pgd_linf_draws_3')
    """
    if row.setting and not varied(study, row):
        named = study.reported.sweeps.get(row.setting, {}).get(row.level)
        return None if named is None else AttackSet.of(named)
    return of_word(study.reported.attacks.get(row.attack or "none"), row.norm)
