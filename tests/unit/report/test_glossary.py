"""The glossary defines the words of the report, and the report links to it."""

import json
import re
from pathlib import Path

import pytest

from assay.analysis.checks.evaluated import AS_PUBLISHED, CONTROL, HEADLINE, SWEEP
from assay.analysis.ledger import COUNT, DURATION, RESULT, SETTING, VERDICTS
from assay.analysis.titles import NORMS
from assay.plan.configuration import read_configuration
from assay.report.glossary import glossary
from assay.report.page_methods import ACCESS

ROOT = Path(__file__).parents[3]
REPORT = ROOT / "report/workstation"


def defined():
    return "\n".join(
        f"{term.title} {' '.join(term.names)} {term.meaning}" for term in glossary().terms
    )


@pytest.mark.parametrize(
    "words",
    [
        VERDICTS,
        ("sound", "under-powered", "suspect", "broken"),
        ("pass", "weak", "flag", "fail"),
        NORMS.values(),
        ACCESS.values(),
        (HEADLINE, SWEEP, AS_PUBLISHED, CONTROL),
        (RESULT, SETTING, COUNT, DURATION),
    ],
)
def test_each_word_that_the_code_uses_for_a_kind_is_defined(words):
    text = defined().lower()
    assert [word for word in words if word.replace("_", " ").lower() not in text] == []


def test_no_term_is_explained_twice():
    names = [name.lower() for term in glossary().terms for name in term.names]
    assert len(names) == len(set(names))
    ids = [term.id for term in glossary().terms]
    assert len(ids) == len(set(ids))


def test_each_abbreviation_of_a_report_is_defined_or_part_of_a_title():
    """Captions and columns of the committed reports; titles are in the catalogues."""
    tables = [path.read_text("utf-8") for path in REPORT.rglob("*.md")]
    words = [path.read_text("utf-8") for path in REPORT.rglob("figures/*.txt")]
    words += [line for table in tables for line in (table.split("\n")[0], table.split("\n\n")[-1])]
    abbreviations = set(
        re.findall(r"\b(?:t-)?[A-Z][A-Za-z&]*-?[A-Z][A-Za-z0-9]*|L[∞0-9]|[ετρ†]", "\n".join(words))
    )
    assert len(abbreviations) > 15, "the captions are found"
    catalogue = read_configuration({"scale": "workstation"}).catalogue
    known = defined() + json.dumps(catalogue, ensure_ascii=False) + "MB"
    assert {word for word in abbreviations if word.removesuffix("s") not in known} == set()


def test_the_first_use_of_a_term_links_to_its_entry():
    entry = next(term.id for term in glossary().terms if "EOT" in term.names)
    linked = glossary().linked("1 < 2 EOT samples; EOT, MyEOTs and worst case over attacks")
    assert linked.startswith(
        f'1 &lt; 2 <a class="term" href="#{entry}">EOT samples</a>; EOT, MyEOTs'
    )
    assert linked.count("<a ") == 2
    assert ">worst case over attacks</a>" in linked


def test_emphasis_and_signs_become_html():
    meanings = {term.id: term.meaning for term in glossary().terms}
    assert "<em>pneumonia</em>" in meanings["term-class"]
    assert not [text for text in meanings.values() if "*" in text or "&lt;em" in text]


def test_every_link_leads_to_an_entry():
    ids = {term.id for term in glossary().terms}
    text = " ".join(name for term in glossary().terms for name in term.names)
    assert set(re.findall(r'href="#([^"]+)"', glossary().linked(text))) <= ids
