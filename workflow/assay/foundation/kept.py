"""All outcomes of a study in one small file, fit to be committed beside its tables.

What tables are made of is kept to the last bit. Four things are not, for no table shows them:
class probabilities are replaced by their order among all rows of the same model, which is all that
an area under a ROC curve needs; the number of changed pixels has one digit where the attack does
not count pixels; and log p(x) and the loss of a search have two. Each column is encoded so that it
compresses, and provenance that many files share is stored once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from assay.foundation.errors import OutcomeError
from assay.foundation.files import atomic_path
from assay.foundation.outcomes import (
    OUTCOME_COLUMNS,
    SCHEMA,
    read_outcomes,
    to_frame,
    with_new_columns,
)
from assay.foundation.provenance import read_provenance

VERSION = 2
# Version 1 lacks some columns of outcomes, which are then empty.
READABLE = (1, VERSION)
IDS = ("dataset", "split", "model", "suite")
# Rows that are read at once: of one model where it has fewer.
GROUP = 1 << 17
_METADATA = b"assay.kept"
_PREFIX = "order_"
DAMAGED = "take the file from the repository again, or run the study again"

Key = tuple[str, ...]


def write_kept(items: Iterable[Mapping[str, str]], path: Path | str, **facts: Any) -> None:
    """Puts the outcome files of a study into one, atomically.

    Args:
        items: ``dataset``, ``split``, ``model``, ``suite`` and ``path`` of each outcome file.
        path: the file to write; the same items give the same bytes.
        **facts: JSON-like facts that are stored beside the rows.

    Raises:
        OutcomeError: an outcome file is missing or damaged.
        AssayError: an outcome file carries no provenance.
    """
    networks: dict[Key, list[Mapping[str, str]]] = {}
    for item in items:
        networks.setdefault(tuple(item[name] for name in IDS[:3]), []).append(item)
    ordered = [item for network in networks.values() for item in network]
    sizes = [_size(item["path"]) for item in ordered]
    classes = max((width for _, width in sizes), default=0)
    made = _Interned(read_provenance(item["path"]) for item in ordered)
    cells = [
        [*(item[name] for name in IDS), count, numbers]
        for item, (count, _), numbers in zip(ordered, sizes, made.numbers, strict=True)
    ]
    schema = _schema(classes)
    stored = {"version": VERSION, **facts, "provenance": made.values, "cells": cells}
    text = json.dumps(stored, separators=(",", ":"), ensure_ascii=False, default=str)
    encodings = {
        # Values repeat from attack to attack, which only the compressor sees, and only in the open.
        **dict.fromkeys(("sample", "l0", "forwards", "backwards"), "PLAIN"),
        **dict.fromkeys(("linf", "l2", "log_px", "best_loss"), "BYTE_STREAM_SPLIT"),
        **{name: "BYTE_STREAM_SPLIT" for name in schema.names if name.startswith(_PREFIX)},
    }
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schema.with_metadata({_METADATA: text.encode()}),
            compression="zstd",
            compression_level=19,
            use_dictionary=[name for name in schema.names if name not in encodings],
            column_encoding=encodings,
            write_statistics=False,
            store_schema=True,
            data_page_size=1 << 24,
            max_rows_per_page=GROUP,
            write_batch_size=GROUP,
        ) as writer,
    ):
        waiting: list[pa.Table] = []
        for network in networks.values():
            waiting.append(_network([item["path"] for item in network], classes))
            if sum(len(table) for table in waiting) >= GROUP:
                _flush(writer, waiting)
        _flush(writer, waiting)


def _flush(writer: pq.ParquetWriter, waiting: list[pa.Table]) -> None:
    if waiting:
        table = pa.concat_tables(waiting).unify_dictionaries().combine_chunks()
        writer.write_table(table, row_group_size=GROUP)
        waiting.clear()


def _network(paths: Sequence[str], classes: int) -> pa.Table:
    """All rows of one network with the order of their scores in place of these."""
    frame = read_outcomes(paths)
    labels, width = frame.label.to_numpy(), _classes(frame.scores)
    lists = pa.chunked_array(frame.scores.array.__arrow_array__())
    # What was not a number may be stored as a null; either is NaN here.
    values = lists.combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    plain = pa.schema([field for field in SCHEMA if field.name != "scores"])
    rows = pa.Table.from_pandas(frame.drop(columns="scores"), plain, preserve_index=False)
    rows = _shortened(rows.replace_schema_metadata(None))
    for index in range(classes):
        column = (
            pa.array(score_order(values[:, index], labels == index), pa.int32())
            if index < width
            else pa.nulls(len(rows), pa.int32())
        )
        rows = rows.append_column(f"{_PREFIX}{index}", column)
    return rows.cast(_schema(classes))


def _shortened(table: pa.Table) -> pa.Table:
    """The table with few digits of what no table shows."""
    counted = np.asarray(table["norm"].cast(pa.string()).to_pylist(), dtype=object) == "l0"
    for name, bits in (("l0", 3), ("log_px", 7), ("best_loss", 7)):
        field, values = SCHEMA.field(name), table[name].to_numpy(zero_copy_only=False)
        # What is cut lies below sign, exponent and the leading bits of the mantissa.
        mask = np.uint32(0xFFFFFFFF << (23 - bits) & 0xFFFFFFFF)
        short = (values.astype(np.float32).view(np.uint32) & mask).view(np.float32)
        kept = np.where(counted & (name == "l0"), values, short)
        place = table.schema.get_field_index(name)
        table = table.set_column(place, field, pa.array(kept.astype(field.type.to_pandas_dtype())))
    return table


def score_order(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """The least that is needed of scores to compare any positive with any negative.

    Neighbours in the order of scores that are all positive, or all negative, share a number; a
    score that both have is a number of its own. So each comparison of a positive with a negative
    comes out as it did, and so does the area under the ROC curve of any choice of rows.

    Args:
        scores: (N,) numbers.
        positive: (N,) whether the row is of the class whose score it is.

    Returns:
        (N,) whole numbers from 0; -1 where the score is not finite.

    Example:
        >>> score_order(np.array([0.1, 0.2, 0.7, 0.9]), np.array([False, False, True, True]))
        array([0, 0, 1, 1])
    """
    order = np.full(len(scores), -1, np.int64)
    finite = np.isfinite(scores)
    values, place = np.unique(scores[finite], return_inverse=True)
    sides = [np.bincount(place, side[finite], len(values)) > 0 for side in (positive, ~positive)]
    side = sides[0] + 2 * sides[1]
    begins = np.append(True, (side[1:] != side[:-1]) | (side[1:] == 3))[: len(side)]
    order[finite] = (np.cumsum(begins) - 1)[place]
    return order


class KeptOutcomes:
    """The outcomes of a study as :func:`write_kept` stored them.

    Args:
        path: the file.

    Attributes:
        facts: what was stored beside the rows: ``version`` and what the writer was given.
        keys: (dataset, split, model, suite) of the outcome files that are in it.

    Raises:
        OutcomeError: the file is missing, damaged, or of a version that this code cannot read.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        try:
            self._file = pq.ParquetFile(self.path)
            stored = json.loads(self._file.schema_arrow.metadata[_METADATA])
        except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
            raise self._damaged(error) from error
        if stored.get("version") not in READABLE:
            raise OutcomeError(
                f"it is written in version {stored.get('version')} of kept outcomes, and this code "
                f"reads versions {', '.join(map(str, READABLE))}",
                where=f"{path}: version",
                remedy="use the version of assay that wrote it, or run the study again",
            )
        self._values, cells = stored.pop("provenance"), stored.pop("cells")
        self.facts: dict[str, Any] = stored
        self._ranges: dict[Key, tuple[int, int]] = {}
        self._made: dict[Key, list[int]] = {}
        start = 0
        for *ids, count, numbers in cells:
            self._ranges[tuple(ids)] = start, start + count
            self._made[tuple(ids)] = numbers
            start += count
        if start != self._file.metadata.num_rows:
            raise self._damaged(f"{self._file.metadata.num_rows} rows instead of {start}")

    @property
    def keys(self) -> list[Key]:
        return list(self._ranges)

    def made(self, key: Key) -> dict[str, Any]:
        """The provenance of the outcome file of a key."""
        return _joined(self._values[number] for number in self._made[key])

    def read(self, keys: Sequence[Key], columns: Sequence[str] = OUTCOME_COLUMNS) -> pd.DataFrame:
        """The rows of some outcome files, one below the other; names are categories.

        Args:
            keys: (dataset, split, model, suite) of the files.
            columns: the columns to read. ``scores`` are numbers in the order of the class
                probabilities, see :func:`score_order`; NaN where these were not finite.

        Raises:
            OutcomeError: the rows cannot be read.
        """
        wanted = [name for name in columns if name != "scores"]
        stored = [name for name in wanted if name in self._file.schema_arrow.names]
        if "scores" in columns:
            stored += [name for name in self._file.schema_arrow.names if name.startswith(_PREFIX)]
        parts = dict.fromkeys(keys)
        for first, last, group in self._groups(keys):
            try:
                table = self._file.read_row_group(group, columns=stored)
            except (OSError, pa.ArrowInvalid) as error:
                raise self._damaged(error) from error
            for key in parts:
                start, stop = self._ranges[key]
                if start < last and stop > first:
                    here = max(start, first)
                    part = table.slice(here - first, min(stop, last) - here)
                    parts[key] = [*(parts[key] or ()), part]
        tables = [part for found in parts.values() for part in found or ()]
        empty = self._file.schema_arrow.empty_table().select(stored)
        merged = pa.concat_tables(tables or [empty]).unify_dictionaries()
        plain = merged.select([name for name in stored if not name.startswith(_PREFIX)])
        frame = to_frame(with_new_columns(plain.replace_schema_metadata(None), wanted))
        if "scores" in columns:
            orders = [merged[name] for name in stored if name.startswith(_PREFIX)]
            scores = pd.arrays.ArrowExtensionArray(pa.chunked_array([_lists(orders)]))
            frame.insert(list(columns).index("scores"), "scores", scores)
        return frame

    def _groups(self, keys: Sequence[Key]) -> Iterable[tuple[int, int, int]]:
        """First and last row, and number, of each row group that has rows of some keys."""
        ranges = [self._ranges[key] for key in keys]
        for group, first in enumerate(self._starts[:-1]):
            last = self._starts[group + 1]
            if any(start < last and stop > first for start, stop in ranges):
                yield int(first), int(last), group

    @cached_property
    def _starts(self) -> np.ndarray:
        counts = [
            self._file.metadata.row_group(group).num_rows
            for group in range(self._file.metadata.num_row_groups)
        ]
        return np.cumsum([0, *counts])

    def _damaged(self, error: object) -> OutcomeError:
        return OutcomeError(f"cannot be read ({error})", where=self.path, remedy=DAMAGED)


class _Interned:
    """Provenance of many files with each fact stored once."""

    def __init__(self, facts: Iterable[Mapping[str, Any]]):
        known: dict[str, int] = {}
        self.numbers: list[list[int]] = []
        for made in facts:
            # Attacks are facts of their own: suites share them.
            single = []
            for name, value in made.items():
                parts = value.items() if isinstance(value, Mapping) and value else [(None, None)]
                single += [{name: value if key is None else {key: part}} for key, part in parts]
            texts = [json.dumps(fact, sort_keys=True, default=str) for fact in single]
            self.numbers.append([known.setdefault(text, len(known)) for text in texts])
        self.values = [json.loads(text) for text in known]


def _joined(facts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for fact in facts:
        for name, value in fact.items():
            if isinstance(value, Mapping):
                found.setdefault(name, {}).update(value)
            else:
                found[name] = value
    return found


def _lists(orders: Sequence[pa.ChunkedArray]) -> pa.Array:
    """Columns of numbers as one column of lists; a row has as many as its data set has classes."""
    numbers = np.stack(
        [column.to_numpy(zero_copy_only=False).astype(np.float32) for column in orders], axis=1
    )
    # Nulls are NaN here: classes that a data set lacks. -1 is what was not finite.
    known = ~np.isnan(numbers)
    values = numbers[known]
    values[values < 0] = np.nan
    offsets = np.concatenate([[0], np.cumsum(known.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, pa.float32()))


def _schema(classes: int) -> pa.Schema:
    fields = [field for field in SCHEMA if field.name != "scores"]
    order = [pa.field(f"{_PREFIX}{index}", pa.int32()) for index in range(classes)]
    return pa.schema([field.remove_metadata() for field in fields] + order)


def _size(path: str) -> tuple[int, int]:
    """The rows of an outcome file and its classes."""
    scores = read_outcomes(path, ["scores"]).scores
    return len(scores), _classes(scores)


def _classes(scores: pd.Series) -> int:
    return len(scores.iloc[0]) if len(scores) else 1
