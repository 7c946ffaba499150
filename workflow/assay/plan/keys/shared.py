"""Keys that entries of several catalogues have."""

from __future__ import annotations

from typing import Annotated

from assay.foundation.keys import key

# Text of a class of this package, module:Name.
CLASS = "^[a-z_][a-zA-Z0-9_.]*:[A-Za-z_][A-Za-z_0-9]*$"

Extends = Annotated[str, key("another entry, of which this one takes everything but its title")]
ForDatasets = Annotated[
    dict[str, dict],
    key("changes to this entry for single data sets: data set id, then the changed keys"),
]
Differences = Annotated[list[str], key("differences from the source")]
