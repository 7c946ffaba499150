"""Outlines read from source agree with the classes themselves."""

import dataclasses
import inspect

import pytest
import yaml

from assay.foundation import digest
from assay.foundation.errors import AssayError
from assay.foundation.outline import constant_keys, outline
from assay.foundation.registry import load
from assay.foundation.resources import ROOT


def implementations(kind):
    catalogue = yaml.safe_load((ROOT / f"config/catalogue/{kind}.yaml").read_text())
    return sorted({entry.get("implementation") for entry in catalogue.values()} - {None})


@pytest.mark.parametrize("name", implementations("attacks"))
def test_an_outline_has_the_fields_and_the_norm_of_an_attack(name):
    kind = load(name)
    fields = dataclasses.fields(kind)
    found = outline(name)
    assert found.name == kind.__name__
    assert set(found.arguments) == {field.name for field in fields}
    defaults = {field.name: field.default for field in fields}
    assert defaults.items() <= found.values.items()
    assert found.values["norm"] == kind.norm


@pytest.mark.parametrize("name", implementations("models"))
def test_an_outline_has_the_arguments_of_a_model(name):
    assert outline(name).arguments == tuple(inspect.signature(load(name)).parameters)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package `assay` of two modules, in which one class comes to another in three ways."""
    folder = tmp_path / "assay"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "low.py").write_text(
        "from dataclasses import dataclass\n"
        "from typing import ClassVar\n"
        "@dataclass(frozen=True)\n"
        "class Low:\n"
        "    norm: ClassVar[str] = 'l2'\n"
        "    a: int = 1\n"
        "    b: int = 2\n"
        "def build(*, steps=3): ...\n"
    )
    (folder / "high.py").write_text(
        "import assay.low\n"
        "from dataclasses import dataclass\n"
        "from assay import low as renamed\n"
        "from assay.low import Low as Base\n"
        "from elsewhere import Other\n"
        "@dataclass(frozen=True)\n"
        "class One(Other, Base):\n"
        "    b: int = 3\n"
        "    c: list = make()\n"
        "@dataclass(frozen=True)\n"
        "class Two(renamed.Low):\n"
        "    b: ClassVar[int] = 4\n"
        "    def norm(self): ...\n"
        "class Three(assay.low.Low):\n"
        "    def __init__(self, x, *, y=1): ...\n"
    )
    monkeypatch.setattr(digest, "ROOT", tmp_path)
    outline.cache_clear()
    yield "assay.high"
    outline.cache_clear()


def test_bases_are_followed_through_imports(package):
    one, two, three = (outline(f"{package}:{name}") for name in ("One", "Two", "Three"))
    assert one.arguments == ("a", "b", "c")
    assert one.values == {"norm": "l2", "a": 1, "b": 3}
    assert two.arguments == ("a",)
    assert two.values == {"a": 1, "b": 4}, "a method hides the attribute of the base"
    assert three.arguments == ("x", "y")


def test_an_imported_class_and_a_function_have_outlines_too(package):
    assert outline(f"{package}:Base").arguments == ("a", "b")
    assert outline("assay.low:build").arguments == ("steps",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("assay.attacks.fsgm:FGSM", r"no module 'assay\.attacks\.fsgm'; did you mean .*\.fgsm'\?"),
        ("assay.atacks.fgsm:FGSM", r"no module 'assay\.atacks\.fgsm'; write a module of this"),
        ("torch.nn:Linear", r"no module 'torch\.nn'; write a module of this project"),
        ("assay.attacks.fgsm:FSGM", r"module 'assay\.attacks\.fgsm' has no 'FSGM'; did you mean"),
        ("assay.attacks.fgsm:torch", r"module 'assay\.attacks\.fgsm' has no 'torch'"),
    ],
)
def test_what_is_not_there_is_named_with_what_is_near(name, message):
    with pytest.raises(AssayError, match=message):
        outline(name)


def test_the_keys_of_a_dictionary_are_known_whatever_its_values_are():
    keys = constant_keys("assay.data.kinds.image_archive", "SETTINGS")
    assert keys[:2] == ("pattern", "subsets")
