"""Makes the documentation's pages: ``make docs`` writes site/index.html, and needs no network.

The Markdown files are copied as they lie in the repository, so that their links stay right, and
beside them a page of reference for each module of assay is written; mkdocs renders all of it. A
link to a file that is no page becomes plain text. Every warning is an error.
"""

from __future__ import annotations

import logging
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import griffe
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

ROOT = Path(__file__).resolve().parents[1]
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Use": (
        "docs/installation.md", "docs/data.md", "docs/models.md", "docs/training.md",
        "docs/outside.md", "docs/attacks.md",
        "docs/attacks/*.md", "docs/measurements.md", "docs/statistics.md", "docs/report.md",
        "docs/reliability.md", "docs/glossary.md",
    ),
    "Files": ("config/README.md", "results/README.md", "profiles/README.md"),
    "Extend": (
        "CONTRIBUTING.md", "docs/adding/README.md", "docs/adding/*.md", "docs/architecture.md",
    ),
    "About": ("CHANGELOG.md", "benchmarks/README.md", "SECURITY.md", "CODE_OF_CONDUCT.md"),
}  # fmt: skip
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|#)([^)\s#]+)(#[^)\s]*)?\)")
# Roles of Sphinx in docstrings: the name alone is what a reader wants.
ROLE = re.compile(r":(?:mod|class|func|meth|attr|data|obj):`~?")


# Names of columns stay in one piece; tables scroll instead.
STYLE = ".md-typeset td code { word-break: normal; white-space: nowrap; }\n"


def pages() -> list[str]:
    """The Markdown files of the site, relative to the repository, each once."""
    found = ["README.md"]
    for patterns in SECTIONS.values():
        found += [
            path.relative_to(ROOT).as_posix()
            for pattern in patterns
            for path in sorted(ROOT.glob(pattern))
        ]
    return list(dict.fromkeys(found))


def copy_page(page: str, staged: Path, known: frozenset[str]) -> None:
    """Copies a page with its pictures; links to what is no page of the site become text."""

    def link(found: re.Match) -> str:
        picture, text, target, anchor = found.groups()
        path = (ROOT / page).parent.joinpath(target).resolve()
        inside = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
        if picture and path.is_file():
            (staged / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, staged / inside)
        elif inside not in known:
            return text
        return f"{picture}[{text}]({target}{anchor or ''})"

    copy = staged / page
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(LINK.sub(link, (ROOT / page).read_text("utf-8")), encoding="utf-8")


def modules() -> Iterator[tuple[str, str]]:
    """The package and the name of every module of assay."""
    package = ROOT / "workflow/assay"
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        if parts[-1].startswith("__") or any(part.startswith("_") for part in parts):
            parts = parts[:-1]
        if len(parts) > 2 or (len(parts) == 2 and path.name == "__init__.py"):
            yield parts[1], ".".join(parts)


def write_reference(staged: Path) -> list[dict]:
    """Writes a page for each module; returns the navigation to them, by package."""
    packages: dict[str, list] = {}
    for package, module in sorted(set(modules())):
        page = Path("reference", *module.split(".")[1:]).with_suffix(".md")
        (staged / page).parent.mkdir(parents=True, exist_ok=True)
        (staged / page).write_text(f"# `{module}`\n\n::: {module}\n", encoding="utf-8")
        title = module.removeprefix(f"assay.{package}").removeprefix(".") or "the package"
        packages.setdefault(package, []).append({title: page.as_posix()})
    return [{f"assay.{package}": listed} for package, listed in packages.items()]


def navigation(found: list[str], reference: list[dict]) -> list:
    """The site's navigation: sections of pages, then the reference."""
    tree: list = ["README.md"]
    for section, patterns in SECTIONS.items():
        tree.append(
            {section: [page for page in found if any(Path(page).match(p) for p in patterns)]}
        )
    return [*tree, {"Reference": reference}]


class Docstrings(griffe.Extension):
    """Docstrings as mkdocstrings reads them: examples as code, names without roles."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Changes the docstring of a module, class, function or attribute."""
        if obj.docstring:
            text = re.sub(
                r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE
            )
            obj.docstring.value = ROLE.sub("`", text)


def make_site(site: Path) -> None:
    """Writes the site to a folder.

    Raises:
        SystemExit: a link, an anchor or a docstring is wrong; mkdocs has printed which.
    """
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder)
        found = pages()
        for page in found:
            copy_page(page, staged, frozenset(found))
        (staged / "site.css").write_text(STYLE, encoding="utf-8")
        configuration = load_config(
            str(ROOT / "docs/mkdocs.yml"),
            docs_dir=str(staged),
            site_dir=str(site),
            nav=navigation(found, write_reference(staged)),
            strict=True,
        )
        try:
            build(configuration)
        except Abort as error:
            raise SystemExit("the site has warnings, above") from error


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    make_site(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "site")
