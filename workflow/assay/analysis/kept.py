"""What a report is made from, in three small files beside it: kept with it, and read back.

``outcomes.parquet`` holds the decisions (:mod:`assay.foundation.kept`), ``records.json`` what is
known of networks, splits and jobs, ``measurements.npz`` what figures draw, as thumbnails. Tables,
statistics and figures are made from these files in a run, too, so that whoever has them makes the
same again.
"""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from assay.analysis import thumbnails
from assay.analysis.brief import Entry, StudyBrief
from assay.analysis.run_files import KeptRun, RunFile, RunFiles
from assay.foundation.errors import AssayError
from assay.foundation.files import atomic_path, read_json, write_text
from assay.foundation.kept import DAMAGED, IDS, KeptOutcomes, write_kept
from assay.training.settings import FORMER
from assay.training.settings import kept as kept_settings

# Of records and measurements; outcomes have a version of their own.
VERSION = 1
FILES = ("outcomes.parquet", "records.json", "measurements.npz")
# Files that are kept as they are: texts, and arrays of which figures draw a part.
RECORDS = {
    "models": ("history", "facts", "benchmark"),
    "outcomes": ("benchmark",),
    "leakage": ("path",),
}
ARRAYS = {
    "outcomes": "examples",
    "measurements": "path",
    "leaks": "path",
}
# What a catalogue entry is to the run; all else are words for readers.
FACTS = {
    "models": ("family", "implementation", "settings", "training", "trained", "weights",
               "shares_weights_with", "init_from", "needs"),
    "attacks": ("implementation", "norm", "epsilons", "settings", "samples"),
    "datasets": ("kind", "classes", "shape", "settings"),
    "splits": ("kind", "group", "folds", "repeats", "test", "validation", "test_per_class"),
    "suites": ("attacks",),
    "measurements": ("implementation", "kept", "settings", "models", "attack", "epsilons",
                     "attacks"),
}  # fmt: skip
WHOLE = ("name", "scale", "seed", "substitutes", "scale_facts", "scaled", "access")
# Of a figure, what decides which images it shows.
DRAWN = ("kind", "attack", "model", "models", "rows")
# What a scale says of itself in words.
SCALE_WORDS = ("title", "description")

Nested = Mapping[str, Any]


def keep_study(
    manifest: RunFiles, study: StudyBrief, folder: Path | str, *, limit: float | None = None
) -> int:
    """Writes the three files of a study.

    Args:
        manifest: the files of the run, as the plan lists them.
        study: the study, as the plan gives it to the analysis, or its :func:`run_facts`.
        folder: where the files go, ``report/{scale}/{study}``.
        limit: megabytes that they may have together; None for no limit.

    Returns:
        Bytes of the three files together. The same run gives the same bytes.

    Raises:
        AssayError: a file is missing or damaged, or the files are larger than `limit` (none is
            written then).
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".kept.") as temporary:
        made = [Path(temporary) / name for name in FILES]
        items = [
            {name: getattr(item, name) for name in (*IDS, "path")} for item in manifest.outcomes
        ]
        write_kept(items, made[0], study=study.name, scale=manifest.scale, seed=manifest.seed)
        write_text(made[1], _records(manifest, study))
        with atomic_path(made[2]) as path:
            np.savez_compressed(path, **_measurements(manifest, study))
        sizes = [path.stat().st_size for path in made]
        if limit is not None and sum(sizes) > limit * 1e6:
            reported = ", ".join(
                f"{name} {size / 1e6:.2f} MB" for name, size in zip(FILES, sizes, strict=True)
            )
            raise AssayError(
                f"the kept files of the study need {sum(sizes) / 1e6:.2f} MB ({reported}), but "
                f"{limit:g} MB are allowed",
                where=folder,
                remedy="evaluate fewer images at this scale (evaluation.samples), or raise "
                f"kept_megabytes in config/scales/{manifest.scale}.yaml (null: no limit)",
            )
        for path in made:
            path.replace(folder / path.name)
    return sum(sizes)


@contextmanager
def kept_run(folder: Path | str, manifest: RunFiles) -> Iterator[KeptRun]:
    """The files of a run as a folder holds them; their paths exist as long as the block lasts.

    Args:
        folder: where :func:`keep_study` wrote.
        manifest: the files as the plan lists them now. What it lists and the folder lacks is left
            out, and so is what the folder has beyond it.

    Raises:
        AssayError: a file is missing, damaged, or of a version that this code does not know.
    """
    folder = Path(folder)
    outcomes = KeptOutcomes(folder / FILES[0])
    known = set(outcomes.keys)
    texts = read_records(folder)["files"]
    arrays = _read_arrays(folder / FILES[2])
    with tempfile.TemporaryDirectory(prefix="assay-") as temporary:
        unpacked = _Unpacked(Path(temporary), texts, arrays)

        def there(kind: str, needed: str | None = None) -> tuple[RunFile, ...]:
            """The files of a kind at their places here, if they have `needed`."""
            members = {*RECORDS.get(kind, ()), *filter(None, [ARRAYS.get(kind)])}
            found = (
                item.moved({name: unpacked.path(item.place(name)) or "" for name in members})
                for item in manifest.of_kind(kind)
            )
            return tuple(item for item in found if needed is None or item.place(needed))

        yield KeptRun(
            scale=manifest.scale,
            seed=manifest.seed,
            outcomes=tuple(item for item in there("outcomes") if item.ids(*IDS) in known),
            models=there("models", "facts"),
            measurements=there("measurements", "path"),
            leakage=there("leakage", "path"),
            leaks=there("leaks", "path"),
            reported=manifest.reported,
            kept=outcomes,
        )


def read_records(folder: Path | str) -> dict[str, Any]:
    """The contents of ``records.json``: ``version``, ``study`` (its facts) and ``files`` by path.

    :func:`assay.analysis.brief.parse_brief` reads the study.

    Raises:
        AssayError: it is missing, damaged, or of a version that this code does not know.
    """
    path = Path(folder) / FILES[1]
    try:
        records = read_json(path)
    except AssayError as error:
        raise AssayError(error.what, where=path, remedy=DAMAGED) from error
    _check_version(records.get("version") if isinstance(records, dict) else None, path, "records")
    return _renewed(records)


def _renewed(records: dict[str, Any]) -> dict[str, Any]:
    """Records with the settings of trainings as they are written today."""
    study, files = records["study"], records["files"]
    entries = [*study.get("models", {}).values()]
    entries += [
        part
        for file in files.values()
        if isinstance(file, dict)
        for part in (file, file.get("settings"))
    ]
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("training"), dict):
            entry["training"] = kept_settings(entry["training"])
    for scaled in study.get("scaled", {}).get("models", {}).values():
        for former, now in FORMER.items():
            if f"training.{former}" in scaled:
                scaled[f"training.{'.'.join(now)}"] = scaled.pop(f"training.{former}")
    return records


def as_it_ran(study: StudyBrief, ran: StudyBrief) -> StudyBrief:
    """The study in the words of today with the facts of its run.

    Words, tables, figures and their layout are those of `study`. What was run, with which settings,
    on which scale and with which substitutes, is what the records say. A catalogue entry that the
    run did not have stays as it is: nothing of it was run.

    Args:
        study: the study, as the plan gives it to the analysis now.
        ran: the facts of the run, see :func:`run_facts`.
    """
    titles = {kind: dict(known) for kind, known in study.titles.items()}
    for kind in FACTS:
        for name in ran.entries(kind):
            titles.setdefault(kind, {}).setdefault(name, name)

    def entries(kind: str) -> dict[str, Entry]:
        found = dict(study.entries(kind))
        for name, facts in ran.entries(kind).items():
            found[name] = {**found.get(name, {"title": name, "source": ""}), **facts}
        return found

    of_kinds: dict[str, Any] = {kind: entries(kind) for kind in FACTS}
    return replace(
        study,
        scale=ran.scale,
        seed=ran.seed,
        substitutes=ran.substitutes,
        scale_facts=(study if _same_scale(study, ran) else ran).scale_facts,
        scaled={
            kind: {**study.scaled.get(kind, {}), **ran.scaled.get(kind, {})}
            for kind in dict.fromkeys([*study.scaled, *ran.scaled])
        },
        access={**study.access, **ran.access},
        titles=titles,
        **of_kinds,
    )


def _same_scale(study: StudyBrief, ran: StudyBrief) -> bool:
    """Whether today's scale is that of the run in all but its words: its words are then right."""

    def facts(brief: StudyBrief) -> dict[str, Any]:
        scale = brief.scale_facts.items()
        return {
            "scale": {key: value for key, value in scale if key not in SCALE_WORDS},
            "substitutes": brief.substitutes,
            "scaled": brief.scaled,
        }

    return _compact(facts(study)) == _compact(facts(ran))


def run_facts(study: StudyBrief) -> StudyBrief:
    """What is kept of a study: the facts of its run, and which images its figures show; no words.

    Args:
        study: the study, as the plan gives it to the analysis.
    """
    entries: dict[str, Any] = {
        kind: {
            name: {key: entry[key] for key in facts if key in entry}
            for name, entry in study.entries(kind).items()
        }
        for kind, facts in FACTS.items()
    }
    figures = {
        name: {key: figure[key] for key in DRAWN if key in figure}
        for name, figure in study.figures.items()
    }
    whole: dict[str, Any] = {name: getattr(study, name) for name in WHOLE}
    return replace(StudyBrief(), figures=figures, **whole, **entries)


def _records(manifest: RunFiles, study: StudyBrief) -> str:
    """The text of ``records.json``: a line for each file."""
    files: dict[str, Any] = {}
    for kind, members in RECORDS.items():
        for item in manifest.of_kind(kind):
            for member in members:
                path = item.place(member)
                if path and path not in files and Path(path).is_file():
                    text = Path(path).read_text(encoding="utf-8")
                    files[path] = json.loads(text) if path.endswith(".json") else text
    head = {
        "version": VERSION,
        "name": study.name,
        "scale": manifest.scale,
        "seed": manifest.seed,
        "study": run_facts(study).to_json(),
    }
    lines = [f"{_compact(key)}: {_compact(value)}" for key, value in head.items()]
    listed = ",\n".join(f"{_compact(path)}: {_compact(value)}" for path, value in files.items())
    return "{\n" + ",\n".join(lines) + ',\n"files": {\n' + listed + "\n}}\n"


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)


def _measurements(manifest: RunFiles, study: StudyBrief) -> dict[str, Any]:
    found: dict[str, Any] = {"version": np.array(VERSION)}
    for kind, member in ARRAYS.items():
        for item in manifest.of_kind(kind):
            path = item.place(member)
            if not path or not Path(path).is_file():
                continue
            if path.endswith(".parquet"):
                # Columns may have gaps, which arrays have not.
                found[f"{path}:bytes"] = np.frombuffer(Path(path).read_bytes(), np.uint8)
                continue
            with np.load(path) as stored:
                if kind == "measurements":
                    shown = thumbnails.shown_measured(item, stored, study)
                    words = thumbnails.dimensions(study, item.measurement)
                else:
                    shown = thumbnails.shown_examples(item, stored, study)
                    words = thumbnails.example_dimensions
            packed = thumbnails.packed(shown, words)
            found |= {f"{path}:{name}": array for name, array in packed.items()}
    return found


class _Unpacked:
    """Files that are written to a folder when they are first asked for."""

    def __init__(self, folder: Path, texts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]):
        self._folder, self._texts, self._arrays = folder, texts, arrays
        self._members: dict[str, list[str]] = {}
        for name in arrays:
            path, _, member = name.rpartition(":")
            if path:
                self._members.setdefault(path, []).append(member)
        self._paths: dict[str, str] = {}

    def path(self, wanted: str | None) -> str | None:
        """Where the file lies that the run called `wanted`; None if it is not kept."""
        if not wanted or (wanted not in self._texts and wanted not in self._members):
            return None
        if wanted not in self._paths:
            target = self._folder / f"{len(self._paths)}_{Path(wanted).name}"
            if wanted in self._texts:
                value = self._texts[wanted]
                text = value if isinstance(value, str) else json.dumps(value)
                target.write_text(text, encoding="utf-8")
            else:
                names = self._members[wanted]
                packed = {name: self._arrays[f"{wanted}:{name}"] for name in names}
                if wanted.endswith(".parquet"):
                    target.write_bytes(packed["bytes"].tobytes())
                else:
                    arrays: dict[str, Any] = dict(thumbnails.unpacked(packed))
                    np.savez(target, **arrays)
            self._paths[wanted] = str(target)
        return self._paths[wanted]


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path) as stored:
            arrays = dict(stored)
    except (OSError, ValueError, BadZipFile, EOFError, zlib.error) as error:
        raise AssayError(
            f"cannot be read ({error})",
            where=path,
            remedy=DAMAGED,
        ) from error
    _check_version(arrays.pop("version", None), path, "measurements")
    return arrays


def _check_version(version: Any, path: Path, what: str) -> None:
    if version is None or int(version) != VERSION:
        raise AssayError(
            f"it is written in version {version} of kept {what}, and this code reads version "
            f"{VERSION}",
            where=f"{path}: version",
            remedy="use the version of assay that wrote it, or run the study again",
        )
