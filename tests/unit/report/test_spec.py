"""Keys of tables and figures say by their types what they refer to."""

from dataclasses import dataclass, fields
from typing import Annotated

import pytest

from assay.analysis.attack_set import AttackSet
from assay.foundation.keys import ABSENT, Key, key
from assay.plan.keys.build import schema_of
from assay.report.kinds import PARTS, kinds
from assay.report.needs import Examples
from assay.report.spec import (
    AttackItem,
    Cell,
    Cells,
    FigureSpec,
    ModelId,
    Radii,
    Refers,
    TableSpec,
    references,
    spec_of,
)


@dataclass(frozen=True, kw_only=True)
class Spec(FigureSpec):
    """Of a kind that nobody has written, with keys of names that nobody has used."""

    champion: ModelId
    rivals: Annotated[dict[str, list[ModelId]], key("by family")] = ABSENT
    under: list[AttackItem] = ABSENT
    at: Radii = ABSENT
    rows_of: Cells = ABSENT


WRITTEN = {
    "kind": "duel",
    "title": "A duel",
    "champion": "cnn",
    "rivals": {"small": ["gbz", "dbx"]},
    "under": ["pgd", {"norm": "linf"}],
    "at": [0.1, 0.3],
    "rows_of": [{"suite": "blackbox", "epsilon": 0.5}],
}


def test_what_an_entry_refers_to_follows_from_types_and_not_from_the_names_of_keys():
    found = [(one.refers, one.value, one.keys) for one in references(Spec, WRITTEN)]
    assert found == [
        (Refers.MODEL, "cnn", ("champion",)),
        (Refers.MODEL, "gbz", ("rivals", "small", 0)),
        (Refers.MODEL, "dbx", ("rivals", "small", 1)),
        (Refers.ATTACK, "pgd", ("under", 0)),
        (Refers.NORM, "linf", ("under", 1, "norm")),
        (Refers.SOME_RADII, [0.1, 0.3], ("at",)),
        (Refers.SUITE, "blackbox", ("rows_of", 0, "suite")),
        (Refers.RADIUS, 0.5, ("rows_of", 0, "epsilon")),
    ]


def test_a_radius_belongs_to_the_attack_that_stands_beside_it():
    found = references(Spec, WRITTEN)
    (radius,) = [one for one in found if one.refers is Refers.RADIUS]
    assert [one.attacks for one in radius.beside if one.attacks] == [AttackSet("suite", "blackbox")]
    (radii,) = [one for one in found if one.refers is Refers.SOME_RADII]
    shown = {one.attacks for one in radii.beside if one.attacks}
    assert {AttackSet("", "pgd"), AttackSet("norm", "linf")} <= shown


def test_an_entry_becomes_a_frozen_specification():
    spec = spec_of(Spec, WRITTEN)
    assert spec.under == [AttackSet("", "pgd"), AttackSet("norm", "linf")]
    assert spec.rows_of == [Cell(AttackSet("suite", "blackbox"), 0.5)]
    assert spec.excluded_models == []
    assert not spec_of(Spec, {"champion": "cnn"}).at
    with pytest.raises(AttributeError):
        spec.champion = "gbz"


def test_what_code_fills_in_is_no_key_of_a_file():
    assert "excluded_models" in {field.name for field in fields(Spec)}
    schema = schema_of(Spec)
    assert "excluded_models" not in schema["properties"]
    assert schema["required"] == ["kind", "title", "champion"]


@pytest.mark.parametrize("part", PARTS)
def test_every_kind_states_its_keys_and_what_it_shows(part):
    base = {"tables": TableSpec, "figures": FigureSpec}[part]
    for name, kind in kinds(part).items():
        assert issubclass(kind.Spec, base), name
        assert kind.Spec.__doc__.strip()[0].isupper(), name
        schema = schema_of(kind.Spec)
        own = {*schema["properties"]} - {*schema_of(base)["properties"]}
        assert all("description" in schema["properties"][key] for key in own), name


@pytest.mark.parametrize("part", PARTS)
def test_example_images_are_of_the_keys_by_which_a_report_keeps_them(part):
    for name, kind in kinds(part).items():
        if not hasattr(kind, "needs"):
            continue
        spec = spec_of(kind.Spec, {"attack": "pgd", "model": "cnn", "models": ["gbz", "dbx"]})
        for need in kind.needs(spec):
            if isinstance(need, Examples):
                assert (need.attack, need.models) in {
                    ("pgd", ("cnn",)),
                    ("pgd", ("gbz", "dbx")),
                }, name


def test_the_longest_of_several_least_lengths_counts():
    assert schema_of(Annotated[list[ModelId], Key(least=1), Key(least=2)])["minItems"] == 2
