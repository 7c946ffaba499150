"""Keys of an entry of ``config/catalogue/suites.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from assay.foundation.keys import ABSENT, key
from assay.plan.keys.shared import Extends


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A named list of attacks."""

    title: Annotated[str, key("one line for readers")]
    extends: Extends = ABSENT
    attacks: Annotated[
        list[str], key("ids of attacks.yaml, in the order in which they run", least=1)
    ]
    note: Annotated[str, key("note for readers")] = ABSENT
