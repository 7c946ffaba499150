"""Keys of an entry of ``config/catalogue/attacks.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from assay.plan.keys.build import Key, key


@dataclass(frozen=True, kw_only=True)
class Attack:
    """An attack or a corruption."""

    title: Annotated[str, key("name in reports")]
    implementation: Annotated[
        str,
        key(
            "the class, 'module:Name'",
            pattern="^[a-z_][a-zA-Z0-9_.]*:[A-Za-z_]+$",
            examples=("assay.attacks.pgd:PGD",),
        ),
    ]
    settings: Annotated[dict, key("keyword arguments of the class")] = field(default_factory=dict)
    norm: Annotated[
        Literal["linf", "l2", "l0", "severity", "none"], key("norm that epsilon bounds")
    ]
    epsilons: Annotated[
        list[Annotated[float, Key(ge=0)]],
        key("budgets, at least 0, for images in [0, 1]", least=1, unique=True),
    ]
    samples: Annotated[
        int | None,
        key(
            "largest number of test images per split, the first ones of the evaluated order; null: "
            "all images that the scale evaluates",
            ge=1,
        ),
    ] = None
    for_datasets: Annotated[
        dict[str, dict],
        key("changes to this entry for single data sets: data set id, then the changed keys"),
    ] = field(default_factory=dict)
    source: Annotated[str, key("publication or code of the attack")]
    differences: Annotated[list[str], key("differences from the source")] = field(
        default_factory=list
    )
    role: Annotated[
        Literal["headline", "sweep", "as_published", "control"],
        key(
            "role in the analysis; headline: a full attack; sweep: one setting is varied; "
            "as_published: a published attack with its defects; control: measures the effect of "
            "one defect, or checks something"
        ),
    ] = "headline"
    single_step: Annotated[
        str | None, key("id of the one-step attack with the same loss, norm and target")
    ] = None
