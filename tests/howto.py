"""Follows a page that shows how to add something, in a copy of the project.

A page of ``docs/adding/`` is Markdown for people, with three kinds of fenced blocks that are
followed in their order:

- a block with a file's name, ```` ```python title="path/of/file.py" ````, writes that file of the
  copy. A new file is created with the block's text. Into a YAML file that is there already, the
  block's keys are merged (mappings by key, lists are lengthened); to any other file that is there,
  its text is appended, or inserted below the first line that contains the text of ``after="..."``.
  So the page shows an entry alone, as a reader would add it.
- ```` ```console ```` holds commands, each on a line that begins with ``$ ``. They run in the copy,
  whose package is the one that Python imports. A command must succeed, and what stands below it
  must be in what it prints, line by line; ``...`` stands for anything.
- other blocks are for reading only.

To test a page, put it into ``docs/adding/``: ``tests/unit/test_adding.py`` follows every page there
and counts the files that it touches. To look at the result yourself, use the fixture ``follow``::

    def test_the_new_attack_is_planned(follow):
        copy = follow("docs/adding/attack.md")
        assert copy.new == ["workflow/assay/attacks/mine.py"]
        assert copy.changed == ["config/catalogue/attacks.yaml"]
        assert "mine" in copy.run("python -m assay.attacks --list")
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

BLOCK = re.compile(r"^( *)```(\w*)([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r'title="([^"]+)"')
AFTER = re.compile(r'after="([^"]+)"')
YAML = (".yaml", ".yml")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page.

    Attributes:
        language: what stands behind the fence.
        file: the file that it names, or None.
        after: a text of the line below which it is inserted, or None.
        text: its lines.
    """

    language: str
    file: str | None
    after: str | None
    text: str


@dataclass
class Followed:
    """A copy of the project in which a page was followed.

    Attributes:
        folder: the copy.
        new: files that the page made, relative to the copy.
        changed: files of the project that the page adds to.
    """

    folder: Path
    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def write(self, file: str, text: str, after: str | None = None) -> None:
        """Creates a file of the copy, or adds to it what `text` has, below the line of `after`."""
        path = self.folder / file
        assert path.resolve().is_relative_to(self.folder.resolve()), f"{file} is not of the copy"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            self.new.append(file)
            return
        before = path.read_text(encoding="utf-8")
        if after:
            assert after in before, f"{file} does not hold {after!r}"
            place = before.index("\n", before.index(after)) + 1
            after = before[:place] + text + before[place:]
        elif path.suffix in YAML:
            merged = _merged(yaml.safe_load(before), yaml.safe_load(text))
            after = yaml.safe_dump(merged, sort_keys=False, allow_unicode=True, width=1000)
        else:
            after = f"{before.rstrip()}\n{text}"
        path.write_text(after, encoding="utf-8")
        if file not in {*self.new, *self.changed}:
            self.changed.append(file)

    def run(self, command: str) -> str:
        """Runs a command in the copy; returns what it prints. It fails where the command does."""
        words = shlex.split(command)
        if words[0] == "python":
            words[0] = sys.executable
        done = subprocess.run(
            words,
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": str(self.folder / "workflow"),
                # Warnings of libraries are no part of what a page shows.
                "PYTHONWARNINGS": "ignore",
            },
            text=True,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout[-6000:]}"
        return done.stdout


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a Markdown text, in their order."""
    for indent, language, rest, body in BLOCK.findall(text):
        title, after = (found and found[1] for found in (TITLE.search(rest), AFTER.search(rest)))
        lines = [line.removeprefix(indent) for line in body.splitlines()]
        yield Block(language, title, after, "".join(f"{line}\n" for line in lines))


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines that are shown below it."""
    command, shown = None, []
    for line in text.splitlines():
        if line.startswith("$ "):
            if command is not None:
                yield command, shown
            command, shown = line.removeprefix("$ "), []
        elif line.strip():
            shown.append(line.strip())
    if command is not None:
        yield command, shown


def follow_text(text: str, copy: Followed) -> Followed:
    """Does in `copy` what the page with this text says; see the module's description."""
    for block in blocks(text):
        if block.file:
            copy.write(block.file, block.text, block.after)
        elif block.language == "console":
            for command, shown in commands(block.text):
                printed = copy.run(command)
                for line in shown:
                    pattern = ".*".join(map(re.escape, line.split("...")))
                    assert re.search(pattern, printed), f"$ {command}\nlacks: {line}\n{printed}"
    return copy


def follower(
    root: Path, copy_project: Callable[[Path], object], folder: Path
) -> Callable[[str], Followed]:
    """The function that follows a page of the project in a new copy of it in `folder`."""

    def follow(page: str) -> Followed:
        copy_project(folder)
        return follow_text((root / page).read_text(encoding="utf-8"), Followed(folder))

    return follow


def _merged(old, new):
    """What a reader has who adds `new` to the YAML value `old`."""
    if isinstance(old, dict) and isinstance(new, dict):
        both = {key: _merged(old[key], new[key]) for key in old.keys() & new.keys()}
        return {**old, **new, **both}
    if isinstance(old, list) and isinstance(new, list):
        return [*old, *new]
    return new
