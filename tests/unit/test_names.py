"""Names carry no facts: what an id means stands in a field or in a column."""

import ast
import re
from pathlib import Path

import pytest

WORKFLOW = Path(__file__).resolve().parents[2] / "workflow"


def sources():
    return [*WORKFLOW.rglob("*.py"), *WORKFLOW.rglob("*.smk")]


METHODS = {
    "startswith", "endswith", "removeprefix", "removesuffix", "partition", "rpartition", "split",
    "rsplit", "match", "fullmatch", "search", "contains", "replace",
}  # fmt: skip


def texts(node):
    return [
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]


def parsed_from_names(tree):
    """Texts that code looks for in a name: those of the methods that take one apart, and of in."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=method)) if method in METHODS:
                for part in (*node.args, *(keyword.value for keyword in node.keywords)):
                    yield from texts(part)
            case ast.Compare(left=ast.Constant(value=str(text)), ops=[ast.In(), *_]):
                yield text


FACTS = re.compile(r"all |worst case|_?as_published|_0$|_0_")


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('name.startswith(("all ", "x"))', ["all "]),
        ('name.removesuffix("_as_published")', ["_as_published"]),
        ('split.endswith("_0")', ["_0"]),
        ('"_as_published" in name', ["_as_published"]),
        ('{"as_published": True}; name == "clean"', []),
    ],
)
def test_the_search_for_parsed_names_finds_them(code, found):
    assert [text for text in parsed_from_names(ast.parse(code)) if FACTS.match(text)] == found


def test_no_source_reads_a_fact_out_of_a_name():
    found = {
        f"{path.name}: {text}"
        for path in WORKFLOW.rglob("*.py")
        for text in parsed_from_names(ast.parse(path.read_text(encoding="utf-8")))
        if FACTS.match(text)
    }
    assert not found


def test_radii_are_compared_exactly():
    tolerance = re.compile(r"(isclose|allclose)\([^)]*(epsilon|radi)|abs\([^)]*(epsilon|radi).*<")
    found = [
        f"{path.name}: {line.strip()}"
        for path in sources()
        for line in path.read_text(encoding="utf-8").splitlines()
        if tolerance.search(line)
    ]
    assert not found
