"""The pages on adding something are followed, word for word, in a copy of the project."""

import re

import pytest
from howto import Followed, follow_text

from assay.foundation.resources import ROOT

FOLDER = ROOT / "docs/adding"
INDEX = FOLDER / "README.md"
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in FOLDER.glob("*.md") if path != INDEX)
# New files and changed files; a study has the numbers of its paper beside it, and changes nothing.
TOUCHED = {"docs/adding/study.md": (2, 0)}

PAGE = """
# To add a thing

```python title="workflow/assay/thing.py"
WORD = "found"
```

1. An entry:

   ```yaml title="config/list.yaml"
   things: [new]
   words: {new: {size: 3}}
   ```

```text title="notes.txt"
third
```

```text title="notes.txt" after="first"
second
```

```console
$ python -c "from assay.thing import WORD; print('it is', WORD, 'now')"
it is ... now
$ python -c "pass"
```
"""


@pytest.fixture
def copy(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/list.yaml").write_text("things: [old]\nwords: {old: {size: 1}}\n")
    (tmp_path / "notes.txt").write_text("first\n")
    (tmp_path / "workflow/assay").mkdir(parents=True)
    (tmp_path / "workflow/assay/__init__.py").touch()
    return Followed(tmp_path)


def test_a_page_s_files_are_written_and_its_entries_added(copy):
    follow_text(PAGE, copy)
    assert copy.new == ["workflow/assay/thing.py"]
    assert copy.changed == ["config/list.yaml", "notes.txt"]
    assert (copy.folder / "config/list.yaml").read_text() == (
        "things:\n- old\n- new\nwords:\n  old:\n    size: 1\n  new:\n    size: 3\n"
    )
    assert (copy.folder / "notes.txt").read_text() == "first\nsecond\nthird\n"


@pytest.mark.parametrize(
    ("right", "wrong"), [("it is ...", "it was ..."), ('python -c "pass"', 'python -c "1/0"')]
)
def test_a_page_whose_command_fails_or_prints_something_else_fails(copy, right, wrong):
    with pytest.raises(AssertionError):
        follow_text(PAGE.replace(right, wrong), copy)


def test_a_page_cannot_write_outside_the_copy(copy):
    with pytest.raises(AssertionError, match="not of the copy"):
        follow_text('```text title="../elsewhere.txt"\n1\n```\n', copy)


def test_the_index_links_to_every_page():
    linked = re.findall(r"\]\((\w+\.md)\)", INDEX.read_text("utf-8"))
    assert sorted(linked) == [page.rpartition("/")[2] for page in PAGES]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_on_adding_holds_and_touches_as_few_files_as_it_says(page, follow):
    copy = follow(page)
    assert (len(copy.new), len(copy.changed)) == TOUCHED.get(page, (1, 1))
