"""Keys of a file of ``config/studies/``: a dataclass for each kind of table and of figure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from assay.foundation.radius import Radius
from assay.plan.keys.build import ABSENT, Key, key


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
class Saliency:
    """Of what saliency maps are stored."""

    models: Annotated[list[str], key("deterministic models of the grid", least=1)]
    attack: Annotated[str, key("attack, an id of config/catalogue/attacks.yaml")]
    epsilons: Annotated[
        list[Annotated[Radius, Key(gt=0)]],
        key("radii; on each data set, those at which the attack runs there", least=1),
    ]


@dataclass(frozen=True, kw_only=True)
class WorstCase:
    """The worst case over attacks: ``{suite: thesis_linf}`` or ``{norm: linf}``."""

    suite: Annotated[
        str, key("an id of config/catalogue/suites.yaml; the worst case over its attacks")
    ] = ABSENT
    norm: Annotated[str, key("the worst case over all attacks of this norm (linf, l2, l0)")] = (
        ABSENT
    )


AttackSet = Annotated[
    str | WorstCase,
    key("an attack id, or {suite: id} or {norm: linf}, a worst case over attacks", least=1, most=1),
]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """An attack at a radius."""

    attack: Annotated[
        str, key("an id of config/catalogue/attacks.yaml (of a sweep: a cell for each entry)")
    ] = ABSENT
    suite: Annotated[
        str,
        key(
            "in place of attack: an id of config/catalogue/suites.yaml; the worst case over its "
            "attacks"
        ),
    ] = ABSENT
    norm: Annotated[
        str,
        key("in place of attack: the worst case over all attacks of this norm (linf, l2, l0)"),
    ] = ABSENT
    attacks: Annotated[
        list[AttackSet],
        key("in place of attack: several of them, a cell for each, all with this epsilon"),
    ] = ABSENT
    epsilon: Annotated[
        Radius,
        key(
            "one of the epsilons of the attack, or `threat`: those of the data sets shown, in the "
            "attack's norm; default all",
            ge=0,
        ),
    ] = ABSENT


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A published attack and its correction."""

    published: Annotated[str, key("attack id")]
    corrected: Annotated[str, key("attack id")]
    defect: Annotated[str, key("the defect of the published attack")]


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The first table."""

    models: Annotated[list[str], key("models in this order")]
    cells: Annotated[list[Cell], key("attack and epsilon of each column")]


Cells = Annotated[list[Cell], key("rows: attack and epsilon", least=1)]
Datasets = Annotated[list[str], key("data sets shown; default all of the grid", least=1)]
Models = Annotated[list[str], key("columns; default all models of the grid", least=1)]
Schemes = Annotated[
    list[str],
    key(
        "split schemes that are compared, or shown one by one; ids of config/catalogue/splits.yaml",
        least=1,
    ),
]
Model = Annotated[str, key("the one model shown")]
Reported = Annotated[str, key("a file of config/reported/ with printed numbers to show beside")]
_FOR_EACH = key(
    "name, then a list of values: one table or figure for each of them, or for each combination of "
    "several lists. {name} in the id and in texts is the value, {name.key} what it has at a key"
)
_TABLE, _FIGURE = key("kind of table"), key("kind of figure")


@dataclass(frozen=True, kw_only=True)
class _Table:
    title: Annotated[str, key("heading")]
    caption: Annotated[str, key("what the table shows and how to read it")] = ""
    for_each: Annotated[dict, _FOR_EACH] = ABSENT


@dataclass(frozen=True, kw_only=True)
class Accuracy(_Table):
    """Accuracy of each model in each cell."""

    kind: Annotated[Literal["accuracy"], _TABLE]
    cells: Cells
    datasets: Datasets = ABSENT
    models: Models = ABSENT


@dataclass(frozen=True, kw_only=True)
class Distances(_Table):
    """Distances to the closest misclassified images."""

    kind: Annotated[Literal["distances"], _TABLE]
    attacks: Annotated[list[str], key("attacks whose closest misclassified images count", least=1)]
    datasets: Datasets = ABSENT
    models: Models = ABSENT


@dataclass(frozen=True, kw_only=True)
class HyperParameters(_Table):
    """Printed hyper-parameters beside those of the run."""

    kind: Annotated[Literal["hyper_parameters"], _TABLE]
    model: Model
    reported: Reported


@dataclass(frozen=True, kw_only=True)
class Defects(_Table):
    """Published attacks beside their corrections."""

    kind: Annotated[Literal["defects"], _TABLE]
    pairs: Annotated[list[Pair], key("pairs of a published attack and its correction", least=1)]


@dataclass(frozen=True, kw_only=True)
class Significance(_Table):
    """McNemar's tests of pairs of models."""

    kind: Annotated[Literal["significance"], _TABLE]
    cells: Cells = ABSENT
    datasets: Datasets = ABSENT
    models: Models = ABSENT


@dataclass(frozen=True, kw_only=True)
class Ranking(_Table):
    """Models in groups that no test tells apart."""

    kind: Annotated[Literal["ranking"], _TABLE]
    cells: Cells = ABSENT
    datasets: Datasets = ABSENT
    models: Models = ABSENT


@dataclass(frozen=True, kw_only=True)
class Leakage(_Table):
    """What the subsets of each split share."""

    kind: Annotated[Literal["leakage"], _TABLE]


@dataclass(frozen=True, kw_only=True)
class Leaked(_Table):
    """Test images with and without a relative among the training images."""

    kind: Annotated[Literal["leaked"], _TABLE]
    cells: Cells
    schemes: Schemes
    datasets: Datasets = ABSENT
    models: Models = ABSENT


@dataclass(frozen=True, kw_only=True)
class SplitSchemes(_Table):
    """The same models under several ways to split."""

    kind: Annotated[Literal["schemes"], _TABLE]
    cells: Cells
    schemes: Annotated[Schemes, Key(least=2)]
    datasets: Datasets = ABSENT
    models: Models = ABSENT


@dataclass(frozen=True, kw_only=True)
class Complexity(_Table):
    """Sizes of networks beside their accuracies."""

    kind: Annotated[Literal["complexity"], _TABLE]
    cells: Cells
    datasets: Datasets = ABSENT
    models: Models = ABSENT


@dataclass(frozen=True, kw_only=True)
class Trend(_Table):
    """Correlation of size with accuracy."""

    kind: Annotated[Literal["trend"], _TABLE]
    models: Models
    cells: Cells = ABSENT
    datasets: Datasets = ABSENT
    within: Annotated[
        dict[str, Annotated[list[str], Key(least=3)]],
        key(
            "name of a family, then its networks; the table shows their trend beside that of all "
            "networks",
            least=1,
        ),
    ] = ABSENT


@dataclass(frozen=True, kw_only=True)
class Selection(_Table):
    """Which model to choose."""

    kind: Annotated[Literal["selection"], _TABLE]
    cells: Cells
    datasets: Datasets = ABSENT
    models: Models = ABSENT


@dataclass(frozen=True, kw_only=True)
class Pointing(_Table):
    """Whether saliency maps point at known lesions."""

    kind: Annotated[Literal["pointing"], _TABLE]
    models: Models
    datasets: Datasets = ABSENT


@dataclass(frozen=True, kw_only=True)
class Cost(_Table):
    """What jobs cost."""

    kind: Annotated[Literal["cost"], _TABLE]


Table = (
    Accuracy
    | Distances
    | HyperParameters
    | Defects
    | Significance
    | Ranking
    | Leakage
    | Leaked
    | SplitSchemes
    | Complexity
    | Trend
    | Selection
    | Pointing
    | Cost
)

Shown = Annotated[
    list[str], key("data sets shown; default all of the grid, or the first one", least=1)
]
Drawn = Annotated[
    list[str],
    key("models shown; default of accuracy_curves: those of the headline", least=1),
]
Attack = Annotated[str, key("the one attack shown")]
Attacks = Annotated[
    list[AttackSet],
    key("attacks shown, and worst cases over several: {suite: thesis_linf}, {norm: linf}", least=1),
]
Rows = Annotated[int, key("images shown, at least 1; default 6", ge=1)]
Radii = Annotated[
    list[Annotated[Radius, Key(gt=0)]],
    key("radii drawn, if they were run; default all", least=1),
]
Epsilon = Annotated[
    Radius,
    key(
        "the one radius shown, or the nearest stored one, or `threat`: that of the data set shown; "
        "default the largest",
        gt=0,
    ),
]


@dataclass(frozen=True, kw_only=True)
class _Figure:
    title: Annotated[str, key("heading")]
    caption: Annotated[str, key("what the figure shows and how to read it")] = ""
    for_each: Annotated[dict, _FOR_EACH] = ABSENT


@dataclass(frozen=True, kw_only=True)
class TrainingCurves(_Figure):
    """Losses and accuracies by epoch."""

    kind: Annotated[Literal["training_curves"], _FIGURE]
    models: Drawn
    reported: Reported = ABSENT


@dataclass(frozen=True, kw_only=True)
class LatentPCA(_Figure):
    """Latent features in two dimensions."""

    kind: Annotated[Literal["latent_pca"], _FIGURE]
    model: Model


@dataclass(frozen=True, kw_only=True)
class Examples(_Figure):
    """Images under one attack at several radii."""

    kind: Annotated[Literal["examples"], _FIGURE]
    model: Model
    attack: Attack
    datasets: Shown = ABSENT
    rows: Rows = ABSENT
    columns: Annotated[
        int,
        key("columns: the unperturbed image and some radii, at least 2; default 6", ge=2),
    ] = ABSENT
    radii: Radii = ABSENT


@dataclass(frozen=True, kw_only=True)
class ComparedExamples(_Figure):
    """The same images attacked on several models."""

    kind: Annotated[Literal["compared_examples"], _FIGURE]
    models: Drawn
    attack: Attack
    datasets: Shown = ABSENT
    rows: Rows = ABSENT
    radii: Radii = ABSENT


@dataclass(frozen=True, kw_only=True)
class AccuracyCurves(_Figure):
    """Accuracy against the radius."""

    kind: Annotated[Literal["accuracy_curves"], _FIGURE]
    attacks: Attacks
    datasets: Shown = ABSENT
    models: Drawn = ABSENT
    reported: Reported = ABSENT
    radii: Radii = ABSENT


@dataclass(frozen=True, kw_only=True)
class CertifiedCurves(_Figure):
    """Certified accuracy below the empirical one."""

    kind: Annotated[Literal["certified_curves"], _FIGURE]
    models: Drawn
    attack: Attack
    datasets: Shown = ABSENT
    radii: Radii = ABSENT


@dataclass(frozen=True, kw_only=True)
class McNemarMatrix(_Figure):
    """McNemar's tests of all pairs of models."""

    kind: Annotated[Literal["mcnemar_matrix"], _FIGURE]
    attacks: Attacks
    datasets: Shown = ABSENT
    models: Drawn = ABSENT


@dataclass(frozen=True, kw_only=True)
class Reconstructions(_Figure):
    """What each class's generator makes of an image."""

    kind: Annotated[Literal["reconstructions"], _FIGURE]
    model: Model
    attack: Attack
    datasets: Shown = ABSENT
    rows: Rows = ABSENT


@dataclass(frozen=True, kw_only=True)
class SaliencyMaps(_Figure):
    """Where networks look."""

    kind: Annotated[Literal["saliency"], _FIGURE]
    models: Drawn
    datasets: Shown = ABSENT
    rows: Rows = ABSENT
    epsilon: Epsilon = ABSENT


@dataclass(frozen=True, kw_only=True)
class DecisionRegions(_Figure):
    """Features and the predictions of neighbours."""

    kind: Annotated[Literal["decision_regions"], _FIGURE]
    models: Drawn
    datasets: Shown = ABSENT
    epsilon: Epsilon = ABSENT


@dataclass(frozen=True, kw_only=True)
class LedgerDumbbell(_Figure):
    """Printed numbers against those of this run."""

    kind: Annotated[Literal["ledger_dumbbell"], _FIGURE]


Figure = (
    TrainingCurves
    | LatentPCA
    | Examples
    | ComparedExamples
    | AccuracyCurves
    | CertifiedCurves
    | McNemarMatrix
    | Reconstructions
    | SaliencyMaps
    | DecisionRegions
    | LedgerDumbbell
)


@dataclass(frozen=True, kw_only=True)
class PrintedNumbers:
    """The paper's numbers and names."""

    files: Annotated[list[str], key("files of config/reported/")] = field(default_factory=list)
    datasets: Annotated[dict[str, str], key("name in the paper, then the data set id")] = field(
        default_factory=dict
    )
    models: Annotated[dict[str, str], key("name in the paper, then the model id")] = field(
        default_factory=dict
    )
    attacks: Annotated[
        dict[str, str | dict[str, AttackSet]],
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
        str,
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
    features: Annotated[list[str], key("models whose latent features are stored for figures")] = (
        field(default_factory=list)
    )
    reconstructions: Annotated[
        list[str],
        key(
            "models with one generator per class; their reconstructions and certified radii are "
            "stored for tables and figures"
        ),
    ] = field(default_factory=list)
    importance: Annotated[
        list[str],
        key(
            "models that decide by importance sampling; their effective sample size, and log p(x) "
            "with more samples, are stored"
        ),
    ] = field(default_factory=list)
    saliency: Annotated[
        Saliency | None,
        key(
            "networks whose saliency maps and attacked features are stored, for the first split of "
            "each scheme; null: none"
        ),
    ] = None
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
