"""Where the files of a study's run are: what the plan lists and the analysis reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from assay.analysis.brief import Closed, plain_tree, read_tree
from assay.foundation.kept import KeptOutcomes

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Ids = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RunFile(Closed):
    """Files about one thing: a suite on a network, a network, a measurement of it, or a split.

    Attributes:
        dataset, split, model, suite, measurement: the ids of the thing, empty where it has none;
            so are paths.
        path: of its only or first file: outcomes, a measurement, leakage, leaks.
        examples: of example images of a suite.
        history, facts: of a network: its training, and ``model.json``.
        benchmark: of what Snakemake measured of its job.
    """

    dataset: str
    split: str
    model: str = ""
    suite: str = ""
    measurement: str = ""
    path: str = ""
    examples: str = ""
    history: str = ""
    facts: str = ""
    benchmark: str = ""

    def ids(self, *names: str) -> Ids:
        """The ids of some names.

        Example:
            >>> RunFile(dataset="mnist", split="official_0").ids("split", "dataset")
            ('official_0', 'mnist')
        """
        return tuple(getattr(self, name) for name in names)

    def of(self, **ids: str) -> bool:
        """Whether it has these ids."""
        return all(getattr(self, name) == value for name, value in ids.items())

    def place(self, member: str) -> str:
        """One of its paths: path, examples, history, facts or benchmark; empty if it has none."""
        return getattr(self, member)

    def to_json(self) -> dict[str, str]:
        """Ids and paths by their names, without those that it has not."""
        return plain_tree(self)

    def moved(self, places: Mapping[str, str]) -> RunFile:
        """The same thing with other paths, by member (:meth:`place`)."""
        changes: dict[str, Any] = dict(places)
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class RunFiles(Closed):
    """The files of a study's run; as JSON, the manifest among a rule's parameters.

    Attributes:
        scale, seed: of the run.
        outcomes: one for each suite on each network.
        models: one for each network.
        measurements: one for each measurement of a network.
        leakage, leaks: one for each data set and split: a table of counts, and one of test images.
        reported: files of printed numbers.
    """

    scale: str
    seed: int
    outcomes: tuple[RunFile, ...] = ()
    models: tuple[RunFile, ...] = ()
    measurements: tuple[RunFile, ...] = ()
    leakage: tuple[RunFile, ...] = ()
    leaks: tuple[RunFile, ...] = ()
    reported: tuple[str, ...] = ()

    def of_kind(self, kind: str) -> tuple[RunFile, ...]:
        """The files of a kind: outcomes, models, measurements, leakage or leaks."""
        return getattr(self, kind)

    def to_json(self) -> dict[str, Any]:
        """Mappings and lists, without what is empty; :func:`parse_run_files` reads them."""
        return plain_tree(self)


@dataclass(frozen=True, kw_only=True)
class KeptRun(RunFiles):
    """The files of a run that is kept with a report.

    Attributes:
        kept: stands for the outcome files, whose paths do not exist.
        earlier: attacks on networks whose code has changed since: (dataset, split, model, suite,
            attack); see :func:`assay.analysis.code_age.with_code`.
    """

    kept: KeptOutcomes
    earlier: tuple[Ids, ...] = ()


def parse_run_files(tree: Mapping[str, Any], *, where: object = "the manifest") -> RunFiles:
    """The files of a run from mappings and lists.

    Args:
        tree: keys are the fields of :class:`RunFiles`.
        where: what the tree is from, for the error.

    Raises:
        AssayError: a key is unknown or missing, or a value is of another type than its field.
    """
    return read_tree(_adapter(), tree, where)


@cache
def _adapter() -> TypeAdapter[RunFiles]:
    from pydantic import TypeAdapter

    return TypeAdapter(RunFiles)
