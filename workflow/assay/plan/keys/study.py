"""Keys of a file of ``config/studies/``; those of tables and figures are in the files of kinds."""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from functools import reduce
from operator import or_
from typing import Annotated, Any, ClassVar, Literal

from assay.foundation.keys import ABSENT, Key, key
from assay.foundation.radius import Radius
from assay.report.kinds import kinds
from assay.report.spec import AttackId, AttackItem, DatasetId, ModelId, Refers, SchemeId
from assay.report.tables.headline import Headline


@dataclass(frozen=True, kw_only=True)
class Paper:
    """The paper that is reproduced."""

    authors: Annotated[str, key("authors, as cited")]
    title: Annotated[str, key("the paper's title")]
    year: Annotated[int, key("year of publication")]
    url: Annotated[str, key("address of the paper")] = ABSENT


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of the grid."""

    datasets: Annotated[list[str], key("ids of config/catalogue/datasets.yaml", least=1)]
    splits: Annotated[str, key("an id of config/catalogue/splits.yaml")]
    models: Annotated[list[str], key("ids of config/catalogue/models.yaml", least=1)]
    suites: Annotated[list[str], key("ids of config/catalogue/suites.yaml", least=1)]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Of what a measurement is made."""

    models: Annotated[list[ModelId], key("models of the grid", least=1)]
    attack: Annotated[
        AttackId,
        key("attack of a measurement that needs one, an id of config/catalogue/attacks.yaml"),
    ] = ABSENT
    epsilons: Annotated[
        list[Annotated[Radius, Refers.RADIUS, Key(gt=0)]],
        key("radii of the attack; on each data set, those at which it runs there", least=1),
    ] = ABSENT
    attacks: Annotated[
        list[AttackId],
        key(
            "attacks whose example images the measurement reads, ids of "
            "config/catalogue/attacks.yaml",
            least=1,
        ),
    ] = ABSENT


def _one_of(part: str) -> Any:
    """An entry of a table or figure: the keys of one of the kinds, chosen by the key ``kind``."""
    one_text: Any = Literal  # of a name that is known when this runs
    choices = (
        make_dataclass(
            kind.Spec.__name__,
            [("kind", Annotated[one_text[name], key(f"kind of {part.removesuffix('s')}")])],
            bases=(kind.Spec,),
            frozen=True,
            kw_only=True,
        )
        for name, kind in kinds(part).items()
    )
    return reduce(or_, choices)


Table, Figure = _one_of("tables"), _one_of("figures")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What one of the paper's words for a model means on some data sets, or in a table that varies
    a setting of models.
    """

    ONE_OF: ClassVar = (("model", "levels"), ("model", "setting"))
    datasets: Annotated[
        list[DatasetId], key("data sets on which it means this; default all", least=1)
    ] = ABSENT
    setting: Annotated[
        str, key("setting of the model that a printed table varies (column setting)")
    ] = ABSENT
    levels: Annotated[
        dict[str, ModelId], key("value of the setting (column level), then the model id")
    ] = ABSENT
    model: Annotated[ModelId, key("in place of setting and levels: the one model id")] = ABSENT


@dataclass(frozen=True, kw_only=True)
class PrintedNumbers:
    """The paper's numbers and names."""

    files: Annotated[list[str], key("files of config/reported/")] = field(default_factory=list)
    datasets: Annotated[dict[str, DatasetId], key("name in the paper, then the data set id")] = (
        field(default_factory=dict)
    )
    models: Annotated[dict[str, ModelId], key("name in the paper, then the model id")] = field(
        default_factory=dict
    )
    variants: Annotated[
        dict[str, list[Variant]],
        key(
            "name of a model in the paper that means several: data sets or values of a setting, "
            "then the model id; the first that fits counts, and without one reported.models"
        ),
    ] = field(default_factory=dict)
    attacks: Annotated[
        dict[str, str | dict[str, AttackItem]],
        key(
            "name in the paper, then an attack id or a worst case ({suite: thesis_linf}), or one "
            "of these per norm"
        ),
    ] = field(default_factory=dict)
    sweeps: Annotated[
        dict[str, str],
        key("setting that a printed table varies (column setting), then the sweep with its levels"),
    ] = field(default_factory=dict)
    splits: Annotated[
        SchemeId,
        key(
            "split scheme whose results are compared with printed numbers; required if the grid "
            "has several for a data set"
        ),
    ] = ABSENT


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """Keys that many tables or figures share."""

    tables: Annotated[
        dict[str, dict], key("kind of table, or '*' for every kind that reads them, then keys")
    ] = ABSENT
    figures: Annotated[
        dict[str, dict], key("kind of figure, or '*' for every kind that reads them, then keys")
    ] = ABSENT


@dataclass(frozen=True, kw_only=True)
class Study:
    """The comparisons of a study, its tables and its figures."""

    title: Annotated[str, key("one line")]
    paper: Annotated[Paper, key("the paper that is reproduced; a study of your own has none")] = (
        ABSENT
    )
    question: Annotated[
        str,
        key(
            "the question that the study answers; heading of the page of a study without printed "
            "numbers"
        ),
    ]
    grid: Annotated[
        list[Block], key("blocks of data sets x splits x models x suites that run", least=1)
    ]
    measurements: Annotated[
        dict[str, Measured],
        key(
            "what is measured of trained models beside attacks, for tables, figures and checks: an "
            "id of config/catalogue/measurements.yaml, then the models and what it needs"
        ),
    ] = field(default_factory=dict)
    headline: Annotated[Headline, key("the first table of the report")]
    defaults: Annotated[
        Defaults, key("keys of all tables or figures of a kind, where these do not have them")
    ] = ABSENT
    tables: Annotated[dict[str, Table], key("tables by name")] = field(default_factory=dict)
    figures: Annotated[dict[str, Figure], key("figures by name")] = field(default_factory=dict)
    reported: Annotated[
        PrintedNumbers,
        key("the numbers that the paper prints, and how its names map to ids of the catalogues"),
    ] = field(default_factory=PrintedNumbers)
