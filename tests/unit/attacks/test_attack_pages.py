"""The pages on attacks say what the code does: settings, defaults, catalogue names."""

import dataclasses
import re
from pathlib import Path

import pytest

from assay.attacks.attack import Attack
from assay.attacks.catalogue import make_attack, read_catalogue

PAGES = Path(__file__).resolve().parents[3] / "docs/attacks"
FAMILIES = {
    "fixed_budget": ("FGSM", "PGD", "APGD"),
    "minimal_norm": ("DeepFool", "DDN", "CarliniWagner", "FAB", "LBFGS"),
    "generative": ("LatentDescent",),
    "gradient_free": (
        "Square",
        "Boundary",
        "ScoreBasedPGD",
        "OnePixel",
        "GaussianNoiseSearch",
        "RandomDirection",
    ),
    "ensembles": ("AutoAttack",),
}
COMMON = {field.name for field in dataclasses.fields(Attack)}
CLASSES = {type(made).__name__: type(made) for made in map(make_attack, read_catalogue().values())}


def rows_of(page):
    """(setting, default) of every row of the page's tables of settings."""
    text = (PAGES / f"{page}.md").read_text("utf-8")
    tables = re.findall(r"^\| setting.*\n(?:\|.*\n)+", text, re.MULTILINE)
    return re.findall(r"^\| `(\w+)` \| `?([^|`]+?)`? \|", "".join(tables), re.MULTILINE)


def written(default):
    """A default as the tables have it."""
    if default is None or isinstance(default, bool):
        return {None: "null", True: "true", False: "false"}[default]
    return f"{default:g}" if isinstance(default, float) else str(default)


@pytest.mark.parametrize(
    ("page", "kind"), [(page, kind) for page, kinds in FAMILIES.items() for kind in kinds]
)
def test_a_page_lists_every_setting_of_its_attacks_with_its_default(page, kind):
    listed = rows_of(page)
    for field in dataclasses.fields(CLASSES[kind]):
        if field.name not in COMMON:
            assert (field.name, written(field.default)) in listed, field.name


@pytest.mark.parametrize("page", FAMILIES)
def test_a_page_lists_no_setting_that_its_attacks_lack(page):
    known = {f.name for kind in FAMILIES[page] for f in dataclasses.fields(CLASSES[kind])}
    assert {name for name, _ in rows_of(page)} <= known


def test_every_attack_that_looks_at_the_victim_has_a_page():
    looking = {name for name, kind in CLASSES.items() if kind.access != "none"}
    assert looking <= {kind for kinds in FAMILIES.values() for kind in kinds} | {"Clean"}


def test_every_source_is_cited_on_the_page_of_its_attack():
    for page, kinds in FAMILIES.items():
        text = (PAGES / f"{page}.md").read_text("utf-8")
        for kind in kinds:
            for paper in re.findall(r"\d{4}\.\d{5}", CLASSES[kind].source):
                assert paper in text, (page, kind)


def test_the_index_links_to_every_page():
    index = (PAGES.parent / "attacks.md").read_text("utf-8")
    linked = set(re.findall(r"attacks/(\w+\.md)", index))
    assert {path.name for path in PAGES.glob("*.md")} == linked
