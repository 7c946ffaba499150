"""The outcome schema: one row per sample, attack and epsilon; the only currency after an attack.

Accuracy, tests, worst cases, intervals and figures are pure functions of these rows.

Files of version 1 lack the columns :data:`NEW`; they are read with these columns empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from assay.foundation.errors import OutcomeError
from assay.foundation.provenance import write_parquet

NORMS = ("linf", "l2", "l0", "severity", "none")

_name = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        pa.field("dataset", _name, metadata={"doc": "data set id"}),
        pa.field("split", _name, metadata={"doc": "split id, {scheme}_{index}"}),
        pa.field("model", _name, metadata={"doc": "model id"}),
        pa.field("suite", _name, metadata={"doc": "suite id"}),
        pa.field("attack", _name, metadata={"doc": "attack id; 'clean' is the clean evaluation"}),
        pa.field(
            "norm",
            _name,
            metadata={"doc": "what epsilon measures: linf, l2, l0 (pixels), severity, none"},
        ),
        pa.field("sample", pa.int64(), metadata={"doc": "index into the data set's arrays"}),
        pa.field("label", pa.int16(), metadata={"doc": "true class index"}),
        pa.field(
            "clean_prediction", pa.int16(), metadata={"doc": "decision on the unperturbed image"}
        ),
        pa.field(
            "prediction",
            pa.int16(),
            metadata={"doc": "decision on the perturbed image (majority of repeats)"},
        ),
        pa.field(
            "misclassified",
            pa.bool_(),
            metadata={"doc": "the decision is wrong (majority of repeats)"},
        ),
        pa.field(
            "target",
            pa.int16(),
            metadata={"doc": "class that a targeted attack drives the image to; -1: none"},
        ),
        pa.field(
            "misclassified_share",
            pa.float32(),
            metadata={"doc": "share of repeats whose decision is wrong"},
        ),
        pa.field(
            "epsilon",
            pa.float64(),
            metadata={"doc": "budget, in the unit of the norm; images in [0, 1]"},
        ),
        pa.field("linf", pa.float32(), metadata={"doc": "largest absolute pixel change"}),
        pa.field("l2", pa.float32(), metadata={"doc": "Euclidean length of the change"}),
        pa.field("l0", pa.int32(), metadata={"doc": "number of changed pixels, any channel"}),
        pa.field("view", _name, metadata={"doc": "the view that the search used; empty if none"}),
        pa.field(
            "route",
            _name,
            metadata={
                "doc": "the one view that was searched, on all images (`routes: each`); empty: the "
                "worst case over all views, which accuracies are made of"
            },
        ),
        pa.field(
            "best_loss",
            pa.float32(),
            metadata={
                "doc": "the search's own loss at the perturbed image; NaN of formulas, one-pixel "
                "and minimal-norm attacks, and where the last iterate counts (as published)"
            },
        ),
        pa.field(
            "last_improvement",
            pa.float32(),
            metadata={
                "doc": "fraction of a run's budget at which its best loss rose for the last time; "
                "1: still rising at the end; NaN where `best_loss` is"
            },
        ),
        pa.field(
            "silent_success",
            pa.bool_(),
            metadata={
                "doc": "a candidate within the budget was misclassified, by the searched view, but "
                "the perturbed image is not; empty in files of version 1"
            },
        ),
        pa.field("forwards", pa.int32(), metadata={"doc": "forward passes spent on this sample"}),
        pa.field("backwards", pa.int32(), metadata={"doc": "backward passes spent on this sample"}),
        pa.field(
            "zero_gradients", pa.int32(), metadata={"doc": "gradients that were zero everywhere"}
        ),
        pa.field(
            "non_finite", pa.int32(), metadata={"doc": "gradients or logits that were not finite"}
        ),
        pa.field(
            "saturated",
            pa.int32(),
            metadata={"doc": "gradients taken where a softmax underflows (logits 80 apart)"},
        ),
        pa.field(
            "log_px",
            pa.float32(),
            metadata={"doc": "log p(x) in nats, NaN where the model has none"},
        ),
        pa.field(
            "scores",
            pa.list_(pa.float32()),
            metadata={"doc": "K class probabilities, mean over repeats"},
        ),
    ]
)
OUTCOME_COLUMNS = tuple(SCHEMA.names)
VERSION = 2
# Columns that files of version 1 lack.
NEW = ("route", "best_loss", "last_improvement", "silent_success")
_SCHEMA_1 = pa.schema([field for field in SCHEMA if field.name not in NEW])


def to_table(frame: pd.DataFrame, *, where: object = "outcomes") -> pa.Table:
    """The rows as an Arrow table in the schema's order and types.

    Raises:
        OutcomeError: a column is missing or extra, has a wrong type, or a value is impossible.
    """
    missing = [name for name in OUTCOME_COLUMNS if name not in frame.columns]
    extra = [name for name in frame.columns if name not in OUTCOME_COLUMNS]
    if missing or extra:
        raise OutcomeError(f"columns missing: {missing}, unknown: {extra}", where=where)
    unknown = sorted(set(frame["norm"].astype(str)) - set(NORMS))
    if unknown:
        raise OutcomeError(f"unknown norms {unknown}", where=where, remedy=f"use {NORMS}")
    if frame.duplicated(
        ["dataset", "split", "model", "suite", "attack", "route", "epsilon", "sample"]
    ).any():
        raise OutcomeError("a sample occurs twice under one attack and epsilon", where=where)
    try:
        return pa.Table.from_pandas(
            frame[list(OUTCOME_COLUMNS)], schema=SCHEMA, preserve_index=False
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise OutcomeError(str(error), where=where) from error


def write_outcomes(frame: pd.DataFrame, path: Path | str, provenance: dict[str, Any]) -> None:
    """Writes outcome rows to a Parquet file, atomically, with provenance in its metadata.

    Raises:
        OutcomeError: the rows do not follow the schema.
    """
    table = to_table(frame, where=path)
    metadata = dict(table.schema.metadata or {})
    metadata.pop(b"pandas", None)
    write_parquet(table.replace_schema_metadata(metadata), path, provenance)


@contextmanager
def _system_memory_pool() -> Iterator[None]:
    """Arrow takes memory from the system and gives it back.

    Arrow's default pool retains freed memory, about twice the size of the rows read.
    """
    pool = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.default_memory_pool().release_unused()
        pa.set_memory_pool(pool)


@_system_memory_pool()
def read_outcomes(
    paths: Path | str | Iterable[Path | str], columns: Sequence[str] = OUTCOME_COLUMNS
) -> pd.DataFrame:
    """Reads one or many outcome files into one frame; names become categories.

    Args:
        paths: one file or many.
        columns: the columns to read; others cost neither time nor memory.

    Returns:
        The rows, file by file. In rows of version 1, ``route`` is empty, ``best_loss`` and
        ``last_improvement`` are NaN, and ``silent_success`` is missing. The lists of ``scores``
        stay Arrow's, one block of numbers in place of an object per row (:func:`score_reader` gives
        the numbers).

    Raises:
        OutcomeError: a file is missing, damaged or of another schema (the message names it).
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    tables = []
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                known = any(
                    file.schema_arrow.equals(schema, check_metadata=False)
                    for schema in (SCHEMA, _SCHEMA_1)
                )
                there = [name for name in columns if name in file.schema_arrow.names]
                tables += [file.read(columns=there)] if known else []
        except (OSError, pa.ArrowInvalid) as error:
            raise OutcomeError(
                f"cannot be read ({error})",
                where=path,
                remedy="delete the file and run snakemake again; finished chunks are kept",
            ) from error
        if not known:
            raise OutcomeError(
                "does not follow the outcome schema",
                where=path,
                remedy="delete the file and run snakemake again",
            )
    tables = [with_new_columns(table.replace_schema_metadata(None), columns) for table in tables]
    merged = pa.concat_tables(tables) if tables else SCHEMA.empty_table().select(columns)
    tables.clear()
    merged = merged.unify_dictionaries()
    lists = merged["scores"] if "scores" in columns else None
    merged = merged.select([name for name in columns if name != "scores"])
    frame = to_frame(merged)
    if lists is not None:
        place = list(columns).index("scores")
        frame.insert(place, "scores", pd.arrays.ArrowExtensionArray(lists))
    return frame


def with_new_columns(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """The table with the columns that a file of version 1 lacks, in the order of `columns`."""
    for name in columns:
        if name in NEW and name not in table.column_names:
            field = SCHEMA.field(name).remove_metadata()
            values = pa.nulls(len(table), field.type)
            if name == "route":
                codes = pa.array(np.zeros(len(table), np.int32))
                values = pa.DictionaryArray.from_arrays(codes, pa.array([""]))
            table = table.append_column(field, values)
    return table.select(list(columns))


def to_frame(table: pa.Table) -> pd.DataFrame:
    """An Arrow table as a frame, its memory handed over; missing truth values stay missing."""
    place = table.schema.get_field_index("silent_success")
    silent = None if place < 0 else table["silent_success"]
    if silent is not None:
        table = table.remove_column(place)
    # Each of Arrow's columns is let go as soon as it is pandas', if nobody else holds it.
    frame = table.to_pandas(split_blocks=True, self_destruct=True)
    if silent is not None:
        values = pd.BooleanDtype().__from_arrow__(silent)
        frame.insert(place, "silent_success", values)
    return frame


def score_reader(scores: pd.Series) -> Callable[[np.ndarray], np.ndarray]:
    """A function that gives the (n, K) class probabilities of n rows, by their places.

    K is that of the requested rows: data sets differ in it.
    """
    if not isinstance(scores.dtype, pd.ArrowDtype):
        lists = scores.to_numpy()
        return lambda rows: np.stack(lists[rows])
    lists = pa.chunked_array(scores.array.__arrow_array__()).combine_chunks()
    values, starts = lists.values.to_numpy(), lists.offsets.to_numpy()

    def read(rows: np.ndarray) -> np.ndarray:
        first = starts[rows]
        classes = np.arange(starts[rows[0] + 1] - first[0])
        return values[first[:, None] + classes]

    return read
