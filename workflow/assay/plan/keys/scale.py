"""Keys of a file of ``config/scales/``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from assay.foundation.keys import ABSENT, key

_IDS = "ids of config/catalogue/{}.yaml"


@dataclass(frozen=True, kw_only=True)
class Substitutes:
    """What replaces what."""

    datasets: Annotated[dict[str, str], key("data set id, then its substitute")] = field(
        default_factory=dict
    )
    models: Annotated[dict[str, str], key("model id, then its substitute")] = field(
        default_factory=dict
    )
    splits: Annotated[dict[str, str], key("split scheme id, then its substitute")] = field(
        default_factory=dict
    )


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a grid."""

    datasets: Annotated[list[str], key(_IDS.format("datasets"), least=1)] = ABSENT
    splits: Annotated[list[str], key(_IDS.format("splits"), least=1)] = ABSENT
    models: Annotated[list[str], key(_IDS.format("models"), least=1)] = ABSENT
    suites: Annotated[list[str], key(_IDS.format("suites"), least=1)] = ABSENT


@dataclass(frozen=True, kw_only=True)
class Exclude:
    """What does not run."""

    datasets: Annotated[list[str], key("excluded data sets")] = field(default_factory=list)
    models: Annotated[list[str], key("excluded models")] = field(default_factory=list)
    suites: Annotated[list[str], key("excluded suites")] = field(default_factory=list)
    parts: Annotated[
        list[Annotated[Part, key("", least=1)]],
        key(
            "excluded parts of the grid: an entry excludes the combinations that are in all of its "
            "lists, for example some models on one split"
        ),
    ] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How a trained model is attacked."""

    samples: Annotated[
        int | None,
        key("test images per split, in a fixed class-balanced order; null: all", ge=1),
    ] = None
    repeats: Annotated[
        int,
        key(
            "independent repeated evaluations of a randomised model; an attack succeeds if a "
            "strict majority of them is wrong",
            ge=1,
        ),
    ] = 20
    examples: Annotated[
        int,
        key(
            "images per suite that are stored for example figures, on the first split of each "
            "scheme",
            ge=0,
        ),
    ] = 6
    chunk: Annotated[
        int, key("images per chunk; a killed job resumes after its last finished chunk", ge=1)
    ] = 256
    keep_adversarials: Annotated[
        Literal["none", "misclassified", "all"],
        key(
            "adversarial images that are stored as they are (float32), to be predicted again or by "
            "other models; misclassified: those that an attack changed and that are misclassified"
        ),
    ] = "none"


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """Changes to entries."""

    datasets: Annotated[dict, key("changes to data sets")] = ABSENT
    splits: Annotated[dict, key("changes to split schemes")] = ABSENT
    models: Annotated[dict, key("changes to models")] = ABSENT
    attacks: Annotated[dict, key("changes to attacks")] = ABSENT
    suites: Annotated[dict, key("changes to suites")] = ABSENT
    measurements: Annotated[dict, key("changes to measurements")] = ABSENT


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much of each study runs."""

    title: Annotated[str, key("one line for the banner of the report")]
    description: Annotated[str, key("limits of the numbers of this scale, for readers")]
    substitutes: Annotated[
        Substitutes,
        key("substitutes at this scale; the report names them in the banner and in captions"),
    ] = field(default_factory=Substitutes)
    exclude: Annotated[
        Exclude,
        key(
            "parts of a study's grid that this scale excludes; tables and figures that show only "
            "these parts are excluded too, and the ledger says not run"
        ),
    ] = field(default_factory=Exclude)
    splits: Annotated[
        int | None, key("number of splits of each scheme, the first ones; null: all", ge=1)
    ] = None
    job_per: Annotated[
        Literal["suite", "model"],
        key(
            "what one job evaluates: a model with a suite, or (for small models, which need less "
            "time than the start of a job) a model with all suites and measurements"
        ),
    ] = "suite"
    evaluation: Annotated[Evaluation, key("evaluation of a trained model")] = field(
        default_factory=Evaluation
    )
    kept_megabytes: Annotated[
        float | None,
        key(
            "largest total size, in megabytes, of the files that are kept with the report of one "
            "study; null: no limit",
            gt=0,
        ),
    ] = 3
    overrides: Annotated[
        Overrides,
        key(
            "changes to catalogue entries: kind, then id ('*' for every entry), then the changed "
            "keys"
        ),
    ] = field(default_factory=Overrides)
