"""Keys of an entry of ``config/catalogue/attacks.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from assay.foundation.keys import ABSENT, Key, key
from assay.foundation.radius import Radius
from assay.plan.keys.shared import CLASS, Differences, Extends, ForDatasets


@dataclass(frozen=True, kw_only=True)
class Attack:
    """An attack or a corruption."""

    title: Annotated[str, key("name in reports")]
    implementation: Annotated[
        str,
        key(
            "the class, 'module:Name'",
            pattern=CLASS,
            examples=("assay.attacks.pgd:PGD",),
        ),
    ]
    extends: Extends = ABSENT
    sweep: Annotated[
        dict,
        key(
            "a setting and its values, such as {eot_samples: [1, 5]}: one entry for each value, "
            "with the id <id>_<value>; {eot_samples} in a text is the value. The id without a "
            "value means all of them, in suites, studies and overrides"
        ),
    ] = ABSENT
    sweep_of: Annotated[str, key("filled in: the sweep that an entry belongs to")] = ABSENT
    level: Annotated[
        int | float | str, key("filled in: the value of the setting that the sweep varies")
    ] = ABSENT
    settings: Annotated[
        dict, key("keyword arguments of the class; others have the defaults of the class")
    ] = field(default_factory=dict)
    norm: Annotated[
        Literal["linf", "l2", "l0", "severity", "none"],
        key("norm that epsilon bounds; default that of the class"),
    ]
    epsilons: Annotated[
        list[Annotated[Radius, Key(ge=0)]],
        key(
            "budgets, at least 0, for images in [0, 1]; `threat` in the list adds the radii that a "
            "data set has in the attack's norm",
            least=1,
            unique=True,
        ),
    ]
    threat: Annotated[
        list[Annotated[Radius, Key(ge=0)]] | str | None,
        key(
            "instead of `epsilons`: the attack runs at the radii that a data set has in its norm "
            "(`threats`), and at these where it has none. `epsilons` in your own files hold on "
            "every data set",
            least=1,
            unique=True,
            pattern="^also$",
            examples=("[0.1, 0.3]",),
        ),
    ] = None
    samples: Annotated[
        int | None,
        key(
            "largest number of test images per split, the first ones of the evaluated order; null: "
            "all images that the scale evaluates",
            ge=1,
        ),
    ] = None
    for_datasets: ForDatasets = field(default_factory=dict)
    source: Annotated[str, key("publication or code of the attack; default that of the class")]
    differences: Differences = field(default_factory=list)
    role: Annotated[
        Literal["headline", "sweep", "as_published", "control"],
        key(
            "role in the analysis; headline: a full attack; sweep: one setting is varied; "
            "as_published: a published attack with its defects; control: measures the effect of "
            "one defect, or checks something"
        ),
    ] = "headline"
    routes: Annotated[
        Literal["worst", "each"],
        key(
            "how the views of a model are searched; worst: each on the images on which the views "
            "before it failed; each: every view on all images, with outcome rows for each view "
            "(`route`) beside the worst case, at the cost of all of them"
        ),
    ] = "worst"
    single_step: Annotated[
        str | None, key("id of the one-step attack with the same loss, norm and target")
    ] = None
