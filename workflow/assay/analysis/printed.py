"""What a study has for the words of a paper: data sets, models, attacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Study = Mapping[str, Any]


def id_of(study: Study, kind: str, word: str) -> str | None:
    """The id of a data set or model, substitutes put in; None if the study maps no such word.

    Args:
        study: its ``reported`` maps the paper's words to ids, ``stand_ins`` ids to substitutes.
        kind: ``datasets`` or ``models``.
        word: the paper's word.

    Example:
        >>> id_of({"reported": {"models": {"GBZ": "gbz_as_coded"}}}, "models", "GBZ")
        'gbz_as_coded'
    """
    name = study.get("reported", {}).get(kind, {}).get(word)
    return study.get("stand_ins", {}).get(kind, {}).get(name, name)


def attack_of(study: Study, row: Any) -> str | None:
    """The id of the attack of a printed number; None if the study has none for it.

    Args:
        study: its ``reported.attacks`` maps words to ids, or to one id for each norm; its
            ``reported.sweeps`` maps a ``setting`` to a sweep, whose attack at a ``level`` counts.
        row: a row of :func:`assay.foundation.reported.read_reported`, or of the ledger.

    Example:
        >>> from types import SimpleNamespace
        >>> row = SimpleNamespace(attack="PGD", norm="Linf", setting="EOT runs", level="3")
        >>> attack_of({"reported": {"sweeps": {"EOT runs": "pgd_linf_draws"}}}, row)
        'pgd_linf_draws_3'
    """
    reported = study.get("reported", {})
    if row.setting:
        sweep = reported.get("sweeps", {}).get(row.setting)
        return sweep and f"{sweep}_{row.level}"
    named = reported.get("attacks", {}).get(row.attack or "none")
    return named.get(row.norm) if isinstance(named, Mapping) else named
