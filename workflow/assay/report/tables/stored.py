"""A table as readers see it, kept as JSON beside its other formats: what the page reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assay.foundation.errors import AssayError
from assay.report.tables.parts import Table


@dataclass(frozen=True)
class StoredTable:
    """The texts of a table, without markup.

    Attributes:
        columns: names, all different.
        rows: the texts of each row, as many as there are columns.
        marks: (row, column) of the cells that are printed in bold, from 0.
        caption: what is shown, how to read it, and scale, n, splits and seed.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marks: frozenset[tuple[int, int]]
    caption: str

    @classmethod
    def of(cls, table: Table) -> StoredTable:
        """What a table shows to readers."""
        places = () if table.bold is None else np.argwhere(table.bold.to_numpy(bool)).tolist()
        return cls(
            tuple(map(_plain, table.display.columns)),
            tuple(tuple(map(_plain, row)) for row in table.display.itertuples(index=False)),
            frozenset((row, column) for row, column in places),
            _plain(table.caption),
        )

    def in_markdown(self) -> list[list[str]]:
        """The rows with ``**`` around the marked cells; pipes are as they are."""
        return [
            [f"**{text}**" if (row, column) in self.marks else text for column, text in cells]
            for row, cells in enumerate(map(enumerate, self.rows))
        ]

    def to_json(self) -> str:
        """The text of its file: a line for each row.

        Example:
            >>> print(StoredTable(("A", "B"), (("x", "1"), ("y", "2")), frozenset([(1, 1)]), "It.").to_json())
            {
            "caption": "It.",
            "columns": ["A", "B"],
            "marks": [[1, 1]],
            "rows": [
            ["x", "1"],
            ["y", "2"]
            ]}
        """  # noqa: E501
        head = {"caption": self.caption, "columns": self.columns, "marks": sorted(self.marks)}
        lines = [f'"{key}": {_text(value)}' for key, value in head.items()]
        rows = ",\n".join(map(_text, self.rows))
        return "{\n" + ",\n".join(lines) + f',\n"rows": [\n{rows}\n]}}'

    @classmethod
    def from_json(cls, text: str, *, where: Path | str) -> StoredTable:
        """The table that :meth:`to_json` wrote.

        Args:
            text: the file's text.
            where: the file, for the error.

        Raises:
            AssayError: the text holds no table.
        """
        try:
            found = json.loads(text)
            table = cls(
                tuple(map(str, found["columns"])),
                tuple(tuple(map(str, row)) for row in found["rows"]),
                frozenset((int(row), int(column)) for row, column in found["marks"]),
                str(found["caption"]),
            )
        except (ValueError, TypeError, KeyError) as error:
            raise _no_table(where, f"{type(error).__name__}: {error}") from error
        if any(len(row) != len(table.columns) for row in table.rows):
            raise _no_table(where, f"a row has not {len(table.columns)} cells")
        return table


def _no_table(where: Path | str, why: str) -> AssayError:
    return AssayError(
        f"holds no table ({why})",
        where=where,
        remedy="remove it and run the same command again, or render the report (assay render)",
    )


def _text(value: object | Sequence[object]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _plain(text: object) -> str:
    """A text on one line: no format has another place for a line's end."""
    return " ".join(str(text).split())
