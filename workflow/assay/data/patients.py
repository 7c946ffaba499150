"""Patient ids: one person is one id, however it is written; of the ids only numbers are kept."""

from __future__ import annotations

import csv
import io
import logging
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from assay.foundation.errors import DataError

log = logging.getLogger(__name__)

# What tables write for an unknown patient, in lower case.
_UNKNOWN = {"", "na", "n/a", "nan", "none", "null", "unknown", "-", "?", "#n/a"}
_SEPARATORS = (",", ";", "\t")


def patient_id(text: str) -> str:
    """An id in the form in which ids are compared.

    Compatible characters are one (NFKC: full-width digits are digits, composed and decomposed
    accents are equal), invisible ones are dropped, and spaces around and doubled ones too. Letter
    case and leading zeros are kept. Two strangers may be joined by this, which keeps a split free
    of leakage; one person is never parted.

    Example:
        >>> patient_id(" P\u00a0\uff11\u200b") == patient_id("P 1")
        True
    """
    text = unicodedata.normalize("NFKC", text)
    return " ".join("".join(c for c in text if unicodedata.category(c) != "Cf").split())


def group_index(ids: Iterable[str], names: Sequence[str]) -> list[str]:
    """Numbers in place of ids, by first appearance.

    An id may be a name or a hospital's number: short ones can be guessed from any hash without a
    secret key, and their order from a sorted numbering. The order of the files does not affect
    either.

    Args:
        ids: of every image.
        names: of every image, for messages, which never name an id.

    Example:
        >>> group_index(["b", "a", " b"], ["1.png", "2.png", "3.png"])
        ['0', '1', '0']
    """
    ids = [patient_id(text) for text in ids]
    number: dict[str, int] = {}
    first: dict[str, str] = {}
    for text, name in zip(ids, names, strict=True):
        number.setdefault(text, len(number))
        first.setdefault(text, name)
    _tell_similar(first)
    return [str(number[text]) for text in ids]


def _tell_similar(first: dict[str, str]) -> None:
    """Warns of ids that a spreadsheet or a typist may have changed."""
    alike: dict[str, list[str]] = {}
    for text, name in first.items():
        alike.setdefault(text.casefold().removesuffix(".0").lstrip("0"), []).append(name)
    several = [names for names in alike.values() if len(names) > 1]
    if several:
        log.warning(
            "%d patient ids differ only in letter case, leading zeros or '.0', and count as "
            "different patients: those of %s and %s for two",
            sum(map(len, several)),
            *several[0][:2],
        )


def file_key(name: str) -> str:
    """A file's name as it is compared with a table's, which another system may have written.

    Example:
        >>> file_key(r".\\ill\\1.png")
        'ill/1.png'
    """
    return unicodedata.normalize("NFC", name.strip()).replace("\\", "/").removeprefix("./")


def read_table(path: Path, files: Sequence[str], key: str) -> list[str]:
    """The patient of every file, by a CSV with the columns `file` and `patient`.

    Args:
        path: UTF-8 or UTF-16, separated by commas, semicolons or tabs.
        files: the files, as :func:`file_key` writes them.
        key: where the table is named, for messages.

    Raises:
        DataError: it is no such table, or a file has no patient or two.
    """
    table = pd.DataFrame(_read_csv(path, key), columns=["file", "patient"]).drop_duplicates()
    repeated = table.loc[table["file"].duplicated(), "file"]
    if len(repeated):
        raise DataError(
            f"names '{repeated.iloc[0]}' twice, with two patients",
            where=path,
            remedy="keep the right row",
        )
    known = dict(zip(table["file"], table["patient"], strict=True))
    missing = [name for name in files if known.get(name, "").lower() in _UNKNOWN]
    others = sorted(set(known) - set(files))
    if missing:
        apart = f", but names {len(others)} other files ('{others[0]}')" if others else ""
        raise DataError(
            f"has no patient for '{missing[0]}' ({len(missing)} such images){apart}",
            where=path,
            remedy="add a row per image: its path below the folder, and the patient",
        )
    if others:
        log.warning("%s: %d rows are of no image that is read: '%s'", path, len(others), others[0])
    return [known[name] for name in files]


def _read_csv(path: Path, key: str) -> list[tuple[str, str]]:
    """File and patient of every row, in the form in which they are compared."""
    try:
        data = path.read_bytes()
        wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        text = data.decode("utf-16" if wide else "utf-8-sig")
        separator = max(_SEPARATORS, key=text.split("\n", 1)[0].count)
        lines = csv.reader(
            io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
        )
        head, *rows = [line for line in lines if any(map(str.strip, line))] or [[]]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"cannot be read as a CSV ({error})",
            where=path,
            remedy=f"save it as CSV in UTF-8, or correct {key}",
        ) from error
    columns = [name.strip().lower() for name in head]
    if columns.count("file") != 1 or columns.count("patient") != 1:
        raise DataError(
            f"has the columns {', '.join(columns) or 'none'}",
            where=path,
            remedy="it needs the columns file and patient, once each",
        )
    file, patient = columns.index("file"), columns.index("patient")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(columns):
            raise DataError(
                f"has {len(row)} cells in row {number} under {len(columns)} columns",
                where=path,
                remedy="quote cells that hold the separator",
            )
    return [(file_key(row[file]), patient_id(row[patient])) for row in rows]
