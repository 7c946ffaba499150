"""The study as the analysis and the report see it: what the plan hands over, with types.

A :class:`StudyBrief` has the study's file with names resolved and, beside it, titles and catalogue
entries. Rules hand it over as JSON (:meth:`StudyBrief.to_json`); ``records.json`` keeps its facts.
:func:`parse_brief` reads both back, and it alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from assay.foundation.errors import AssayError
from assay.foundation.suggestions import did_you_mean

if TYPE_CHECKING:
    from pydantic import TypeAdapter

# An entry of a table or figure, or a cell of one, as the study's file has it: its kind knows it.
Spec = Mapping[str, Any]
# An entry of a catalogue, as its file has it.
Entry = Mapping[str, Any]
Names = Mapping[str, str]
T = TypeVar("T")
# What belongs to which kind of id.
KINDS = ("datasets", "models", "attacks", "suites", "splits", "measurements")


class Closed:
    """A dataclass that is read with no other keys than its fields."""

    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class Paper(Closed):
    """The paper that a study reproduces; all empty in a study of one's own."""

    authors: str = ""
    title: str = ""
    year: int | None = None
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Headline(Closed):
    """The first table.

    Attributes:
        models: ids in the order of the table; empty for all.
        cells: attack sets, each with its epsilon unless it stands for every budget.
    """

    models: tuple[str, ...] = ()
    cells: tuple[Spec, ...] = ()

    def to_spec(self) -> Spec:
        """The entry as the study's file has it, without what is empty."""
        return plain_tree(self)


@dataclass(frozen=True, kw_only=True)
class Variant(Closed):
    """What a word of the paper for a model means on some data sets, or at levels of a setting.

    Attributes:
        datasets: ids; empty for all.
        setting: the setting of models that a printed table varies; empty for rows without one.
        levels: the id for each value of the setting.
        model: the one id, without a setting.
    """

    datasets: tuple[str, ...] = ()
    setting: str = ""
    levels: Names = field(default_factory=dict)
    model: str = ""


Variants = Mapping[str, tuple[Variant, ...]]


@dataclass(frozen=True, kw_only=True)
class Printed(Closed):
    """The paper's numbers and the words in which it prints them.

    Attributes:
        files: names of files with printed numbers.
        datasets, models: the id for each word of the paper.
        variants: models for words that mean several; they count before `models`.
        attacks: the item for each word (:func:`assay.analysis.attack_set.of_word`).
        sweeps: for each setting that a printed table varies, the attack of each of its levels.
        splits: the scheme that printed numbers are compared with; None if the study has one only.
    """

    files: tuple[str, ...] = ()
    datasets: Names = field(default_factory=dict)
    models: Names = field(default_factory=dict)
    variants: Variants = field(default_factory=dict)
    attacks: Mapping[str, Any] = field(default_factory=dict)
    sweeps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    splits: str | None = None

    def words(self, kind: str) -> Mapping[str, Any]:
        """What each word of the paper stands for.

        Args:
            kind: ``datasets``, ``models`` or ``attacks``.
        """
        return getattr(self, kind)


@dataclass(frozen=True, kw_only=True)
class Planned(Closed):
    """A block of the study as it is written: each attack runs on each model and data set."""

    datasets: tuple[str, ...]
    models: tuple[str, ...]
    attacks: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Excluded(Closed):
    """What the study has and the scale leaves out.

    Attributes:
        datasets, models, attacks: words of the paper whose ids do not run.
        variants: those of the study as it is written, where some of their models do not run.
        grid: the blocks of the study before any were left out.
    """

    datasets: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Any] = field(default_factory=dict)
    attacks: Mapping[str, Any] = field(default_factory=dict)
    variants: Variants = field(default_factory=dict)
    grid: tuple[Planned, ...] = ()

    def words(self, kind: str) -> Mapping[str, Any]:
        """The paper's words for what does not run.

        Args:
            kind: ``datasets``, ``models`` or ``attacks``.
        """
        return getattr(self, kind)


@dataclass(frozen=True, kw_only=True)
class Rules(Closed):
    """Settings of ``config/config.yaml`` by which numbers are evaluated, by their keys there."""

    ledger: Mapping[str, Any] = field(default_factory=dict)
    checks: Mapping[str, Any] = field(default_factory=dict)
    marks: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StudyBrief(Closed):
    """A study at a scale.

    Attributes:
        name: its id.
        scale, seed: of the run.
        title, question, paper: in words.
        headline, tables, figures: what the report shows; tables and figures by their ids.
        reported: the paper's numbers and words.
        grid: blocks of data sets x splits x models x suites that run.
        substitutes: by kind, the id that runs in the place of another.
        excluded: what the scale leaves out.
        titles: by kind (:data:`KINDS`), what readers see for an id, substituted ones included.
        datasets, models, attacks, suites, splits: catalogue entries by id.
        measurements: catalogue entries by id, each with what the study says: its models, and the
            attacks that it needs.
        access: what each attack needs of a model: white_box, score, decision, none …
        scaled: by kind (models, attacks) and id, what the scale changed: path to the value here and
            that of the catalogue.
        rules: settings by which numbers are evaluated.
        radii: how radii are written, those of the study before those of the catalogue.
        scale_facts: the keys of the scale's file that say what it reduces, in words and numbers.
    """

    name: str = ""
    scale: str = ""
    seed: int | None = None
    title: str = ""
    question: str = ""
    paper: Paper = Paper()
    headline: Headline = Headline()
    tables: Mapping[str, Spec] = field(default_factory=dict)
    figures: Mapping[str, Spec] = field(default_factory=dict)
    reported: Printed = Printed()
    grid: tuple[Spec, ...] = ()
    substitutes: Mapping[str, Names] = field(default_factory=dict)
    excluded: Excluded = Excluded()
    titles: Mapping[str, Names] = field(default_factory=dict)
    datasets: Mapping[str, Entry] = field(default_factory=dict)
    models: Mapping[str, Entry] = field(default_factory=dict)
    attacks: Mapping[str, Entry] = field(default_factory=dict)
    suites: Mapping[str, Entry] = field(default_factory=dict)
    splits: Mapping[str, Entry] = field(default_factory=dict)
    measurements: Mapping[str, Entry] = field(default_factory=dict)
    access: Names = field(default_factory=dict)
    scaled: Mapping[str, Mapping[str, Mapping[str, Sequence[Any]]]] = field(default_factory=dict)
    rules: Rules = Rules()
    radii: tuple[str, ...] = ()
    scale_facts: Mapping[str, Any] = field(default_factory=dict)

    def entries(self, kind: str) -> Mapping[str, Entry]:
        """The catalogue entries of a kind (:data:`KINDS`) by id."""
        return getattr(self, kind)

    @property
    def bases(self) -> dict[str, str]:
        """Of each model that decides with another trained one (a wrapper), the id of that one.

        Example:
            >>> StudyBrief(models={"smoothed": {"needs": {"base": "cnn"}}, "cnn": {}}).bases
            {'smoothed': 'cnn'}
        """
        needs = {name: entry.get("needs") or {} for name, entry in self.models.items()}
        return {name: own["base"] for name, own in needs.items() if "base" in own}

    def settings_on(self, model: str, dataset: str) -> dict[str, Any]:
        """The settings of a model's entry, with those that it has on one data set.

        Example:
            >>> entry = {"settings": {"radius": 14}, "for_datasets": {"svhn": {"settings": {"radius": 12}}}}
            >>> StudyBrief(models={"api": entry}).settings_on("api", "svhn")
            {'radius': 12}
        """  # noqa: E501
        entry = self.models.get(model, {})
        own = (entry.get("for_datasets") or {}).get(dataset, {})
        return {**(entry.get("settings") or {}), **(own.get("settings") or {})}

    @property
    def corrections(self) -> list[Mapping[str, str]]:
        """Pairs of a published attack and its correction, as the study's tables of defects say.

        Each has ``published`` and ``corrected`` (ids of attacks) and ``defect`` (words).
        """
        return [pair for table in self.tables.values() for pair in table.get("pairs", ())]

    @property
    def minimal_attacks(self) -> list[str]:
        """Attacks whose closest misclassified images the study's tables of distances show."""
        tables = [table for table in self.tables.values() if table["kind"] == "distances"]
        return list(dict.fromkeys(name for table in tables for name in table["attacks"]))

    def to_json(self) -> dict[str, Any]:
        """The brief as mappings and lists, without what is empty; :func:`parse_brief` reads it.

        Example:
            >>> StudyBrief(name="mine", headline=Headline(models=("cnn",))).to_json()
            {'name': 'mine', 'headline': {'models': ['cnn']}}
        """
        return plain_tree(self)


def parse_brief(tree: Mapping[str, Any], *, where: object = "the study's brief") -> StudyBrief:
    """A brief from mappings and lists: of the plan, of a rule's parameters, or of a file.

    Args:
        tree: keys are the fields of :class:`StudyBrief`; any may be missing.
        where: what the tree is from, for the error.

    Raises:
        AssayError: a key is unknown, or a value is of another type than its field.

    Example:
        >>> parse_brief({"name": "mine", "headline": {"models": ["cnn"]}}).headline.models
        ('cnn',)
        >>> parse_brief({"headlin": {}}, where="records.json")
        Traceback (most recent call last):
        ...
        assay.foundation.errors.AssayError: records.json: headlin: unknown key; did you mean 'headline'?
    """  # noqa: E501
    return read_tree(_adapter(), tree, where)


@cache
def _adapter() -> TypeAdapter[StudyBrief]:
    # A quarter of a second of which a plan without a study has no need.
    from pydantic import TypeAdapter

    return TypeAdapter(StudyBrief)


def read_tree(adapter: TypeAdapter[T], tree: Any, where: object) -> T:
    """A dataclass from mappings and lists.

    Args:
        adapter: pydantic's, of a :class:`Closed` dataclass.
        tree: what is read.
        where: what it is from, for the error.

    Raises:
        AssayError: a key is unknown or missing, or a value is of another type than its field.
    """
    from pydantic import ValidationError

    try:
        return adapter.validate_python(tree)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise _complaint(first, where) from error


def _complaint(first: Mapping[str, Any], where: object) -> AssayError:
    """The first thing that is wrong, in one line."""
    keys = list(map(str, first["loc"]))
    place = f"{where}: {'.'.join(keys)}" if keys else where
    if first["type"] == "unexpected_keyword_argument":
        known = {name for kind in Closed.__subclasses__() for name in kind.__annotations__}
        return AssayError(
            "unknown key",
            where=place,
            remedy=did_you_mean(keys[-1], sorted(known), "another version of assay wrote it"),
        )
    missing = first["type"] == "missing"
    return AssayError(
        "it is missing" if missing else f"it is {first['input']!r:.60}: {first['msg'].lower()}",
        where=place,
        remedy="run the study again, or take the file from the repository again",
    )


def plain_tree(value: Any) -> Any:
    """Mappings, lists and scalars, without the fields of a dataclass that have their default."""
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        found = {field.name: getattr(value, field.name) for field in fields}
        return {name: plain_tree(part) for name, part in found.items() if not _is_empty(part)}
    if isinstance(value, Mapping):
        return {key: plain_tree(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_tree(part) for part in value]
    return value


def _is_empty(value: Any) -> bool:
    if dataclasses.is_dataclass(value):
        return all(_is_empty(getattr(value, each.name)) for each in dataclasses.fields(value))
    return value is None or (isinstance(value, (str, Mapping, list, tuple)) and not value)
