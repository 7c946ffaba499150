"""Keys of an entry of ``config/catalogue/splits.yaml``: a dataclass for each kind of split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from assay.foundation.keys import ABSENT, key
from assay.plan.keys.shared import Extends

_KIND = key(
    "kfold: each image is tested once; random: independent random splits; official: the split of "
    "the publisher"
)


@dataclass(frozen=True, kw_only=True)
class _Split:
    title: Annotated[str, key("one line for readers")]
    extends: Extends = ABSENT
    validation: Annotated[
        float,
        key(
            "share of validation images: of the training subset (kfold, official) or of all images "
            "(random)",
            ge=0,
            lt=1,
        ),
    ] = 0.2
    test_per_class: Annotated[
        int | None,
        key(
            "largest number of test images per class, sampled at random; the others are excluded; "
            "null: all",
            ge=1,
        ),
    ] = None
    group: Annotated[
        Literal["duplicate", "patient", "patient_safe", "none"],
        key(
            "what stays within one subset; duplicate: byte-identical images; patient: patients and "
            "byte-identical images; patient_safe: the same with patients by the safe reading; "
            "none: nothing"
        ),
    ] = "duplicate"
    source: Annotated[str, key("publication or code of the scheme")] = ABSENT
    note: Annotated[str, key("note for readers")] = ABSENT


@dataclass(frozen=True, kw_only=True)
class KFold(_Split):
    """Cross-validation."""

    kind: Annotated[Literal["kfold"], _KIND]
    folds: Annotated[int, key("number of folds (kfold)", ge=2)]


@dataclass(frozen=True, kw_only=True)
class Random(_Split):
    """Independent random splits."""

    kind: Annotated[Literal["random"], _KIND]
    repeats: Annotated[int, key("number of random splits (random)", ge=1)]
    test: Annotated[float, key("share of test images (random)", gt=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class Official(_Split):
    """The publisher's split."""

    kind: Annotated[Literal["official"], _KIND]


Split = KFold | Random | Official
