"""Keys of an entry of ``config/catalogue/datasets.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from assay.data.kinds import KINDS
from assay.foundation.keys import ABSENT, Key, key
from assay.foundation.radius import Radius
from assay.plan.keys.shared import Extends

Shape = list[Annotated[int, Key(ge=1)]]
_one_text: Any = Literal  # of names that are known when this runs


@dataclass(frozen=True, kw_only=True)
class Copy:
    """One accepted copy of an archive."""

    digest: Annotated[
        str,
        key(
            "sha256 or md5 of the bytes, or content: digest of the archive's entries",
            pattern="^(sha256|md5|content):[0-9a-f]{32,64}$",
            examples=("sha256:<64 digits>", "md5:<32 digits>"),
        ),
    ]
    urls: Annotated[list[str], key("download addresses of this copy")] = ABSENT
    images: Annotated[int, key("number of images", ge=1)] = ABSENT
    what: Annotated[str, key("description of this copy")] = ABSENT


@dataclass(frozen=True, kw_only=True)
class File:
    """One archive."""

    path: Annotated[str, key("path within data_mirror and within the download folder")]
    copies: Annotated[list[Copy], key("accepted copies, each identified by its digest", least=1)]


@dataclass(frozen=True, kw_only=True)
class Safe:
    """A coarser reading of patients."""

    id: Annotated[str, key("patient id, from named groups of the pattern")]
    title: Annotated[str, key("name in reports")]


@dataclass(frozen=True, kw_only=True)
class Patient:
    """Which images show one person."""

    id: Annotated[
        str | None,
        key("patient id, from named groups of the pattern or from columns; null: unknown"),
    ]
    reason: Annotated[str, key("reason for this rule")]
    safe: Annotated[
        Safe,
        key(
            "coarser id that never separates the images of one person; leakage is also measured by "
            "it, and splits with group patient_safe use it"
        ),
    ] = ABSENT


@dataclass(frozen=True, kw_only=True)
class Threats:
    """Radii at which models of a data set are attacked."""

    linf: Annotated[
        list[Annotated[Radius, Key(gt=0, le=1)]],
        key("radii in L∞, such as [8/255], for images in [0, 1]", least=1, unique=True),
    ] = ABSENT
    l2: Annotated[
        list[Annotated[Radius, Key(gt=0)]],
        key("radii in L2, such as [1.5], for images in [0, 1]", least=1, unique=True),
    ] = ABSENT


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of readers that are checked here; each reader knows its others."""

    OPEN: ClassVar = True

    folder: Annotated[
        str | None, key("folder with a sub-folder of images for each class (image_folder)")
    ] = ABSENT
    patients: Annotated[
        str | None,
        key("CSV with the columns file and patient, relative to the folder (image_folder)"),
    ] = ABSENT
    channels: Annotated[Literal[1, 3], key("1: grey, 3: RGB (image_folder)")] = ABSENT
    size: Annotated[
        int | Shape | None,
        key(
            "[height, width] to which images are resized, at least 1, or one number for both; "
            "null: as they are",
            ge=1,
            least=2,
            most=2,
        ),
    ] = ABSENT


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set."""

    title: Annotated[str, key("name in reports")]
    extends: Extends = ABSENT
    kind: Annotated[
        _one_text[tuple(KINDS)],
        key("reader of the files, a module of assay.data.kinds"),
    ]
    classes: Annotated[
        list[str] | None,
        key("names in the order of the labels; null: from the data", least=2, unique=True),
    ]
    shape: Annotated[
        Shape | None,
        key("[channels, height, width] of every image; null: from the data", least=3, most=3),
    ]
    files: Annotated[list[File], key("archives of the data set")] = field(default_factory=list)
    patient: Annotated[Patient | None, key("how images are assigned to patients")] = None
    threats: Annotated[
        Threats,
        key(
            "radii by norm: attacks with `threat` run at these on this data set, and "
            "`epsilon: threat` means them in a study"
        ),
    ] = field(default_factory=Threats)
    licence: Annotated[str, key("licence of the publisher")]
    source: Annotated[str, key("origin of the data")]
    citation: Annotated[str, key("reference to cite")]
    settings: Annotated[
        Settings,
        key(
            "settings of the reader; docs/data.md lists those of image_folder, and each module of "
            "assay.data.kinds its own"
        ),
    ] = field(default_factory=Settings)
    note: Annotated[str, key("note for readers")] = ABSENT
    substitute_for: Annotated[
        str,
        key(
            "data set of a paper that this one replaces; its results are not compared with printed "
            "numbers"
        ),
    ] = ABSENT
