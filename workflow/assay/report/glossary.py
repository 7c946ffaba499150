"""The terms of the report, from docs/glossary.md, and links to them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from markupsafe import Markup, escape

from assay.foundation.resources import resource

_ENTRY = re.compile(r"\*\*(?P<terms>.+)\*\*(?: \((?P<others>.+?)\))?: (?P<meaning>.+)", re.DOTALL)


class Term(NamedTuple):
    """One entry of the glossary.

    Attributes:
        id: of the entry on the page.
        title: the terms that it explains, as they are printed.
        names: all words that it explains, each alone.
        meaning: the explanation, HTML.
    """

    id: str
    title: str
    names: tuple[str, ...]
    meaning: Markup


@dataclass(frozen=True)
class Glossary:
    """The entries of docs/glossary.md by heading."""

    groups: tuple[tuple[str, tuple[Term, ...]], ...]

    @property
    def terms(self) -> list[Term]:
        return [term for _, terms in self.groups for term in terms]

    def linked(self, text: str) -> Markup:
        """`text` as HTML in which the first use of each term links to its entry.

        Args:
            text: plain text.
        """
        ids = {name: term.id for term in self.terms for name in term.names}
        ids = {_uncapitalised(name): entry for name, entry in ids.items()} | ids
        for name in _PLAIN & ids.keys():
            del ids[name]
        found: set[str] = set()
        parts, end = [], 0
        for match in _any_of(tuple(ids)).finditer(text):
            entry = ids[match[0]]
            if entry not in found:
                parts += [escape(text[end : match.start()]), _link(entry, match[0])]
                found.add(entry)
                end = match.end()
        return Markup("").join([*parts, escape(text[end:])])


@cache
def glossary() -> Glossary:
    """The glossary that comes with assay.

    Example:
        >>> [term.title for term in glossary().terms if "epsilon" in term.names]
        ['Radius']
    """
    sections = resource("docs/glossary.md").read_text(encoding="utf-8").split("\n## ")[1:]
    groups = []
    for section in sections:
        heading, *entries = re.split(r"\n\s*\n", section.strip())
        groups.append((heading, tuple(_term(entry) for entry in entries)))
    return Glossary(tuple(groups))


def _term(entry: str) -> Term:
    found = _ENTRY.fullmatch(entry)
    if found is None:
        raise ValueError(f"docs/glossary.md: {entry[:60]!r} is no entry '**Term** (other): text'")
    title = found["terms"].replace("**", "")
    words = f"{title}, {found['others'] or ''}"
    names = tuple(filter(None, (word.strip() for word in re.split(", | and ", words))))
    meaning = str(escape(" ".join(found["meaning"].split())))
    meaning = re.sub(r"\*(.+?)\*", r"<em>\1</em>", meaning)
    return Term("term-" + re.sub(r"\W+", "-", names[0].lower()), title, names, Markup(meaning))


# Words of everyday English: a link under each of them would hide the others.
_PLAIN = frozenset(
    word
    for name in (
        "n", "q", "Accuracy", "Attack", "Budget", "Check", "Class", "Clean", "Differs", "Digest",
        "Distance", "Fold", "Group", "Letter", "Scale", "Seed", "Split", "Square", "Suite", "Test",
        "Training", "Agrees",
    )
    for word in (name, name.lower())
)  # fmt: skip


def _uncapitalised(name: str) -> str:
    """A term as it is within a sentence; abbreviations and names of people stay."""
    return name[0].lower() + name[1:] if name[1:2].islower() else name


@cache
def _any_of(names: tuple[str, ...]) -> re.Pattern[str]:
    longest = sorted(names, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)")


def _link(entry: str, word: str) -> Markup:
    return Markup('<a class="term" href="#{}">{}</a>').format(entry, word)
