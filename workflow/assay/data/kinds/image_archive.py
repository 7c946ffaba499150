"""Any zip or tar of image files, whose entry names tell class, official part and patient.

Settings:
    pattern: regular expression for the entries to read, matched against the end of an entry's path
        (archives differ in their outer folder). Named groups: `class` is required; `split` names
        the official part; any other group may be used by the entry's ``patient.id``.
    parts: official parts by what `split` says, where it does not say train, val or test.
    size: [H, W] to resize to; without it every image must have the entry's shape.
    smallest: images with a side below so many pixels are left out, and counted in `dataset.json`;
        null: none.

The entry's ``patient.id`` is a template over the pattern's groups, such as ``"{class}/{track}"``,
or null; so is its ``patient.safe.id``, a coarser id that never parts the images of one person but
may join strangers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from assay.data.archive import Archive, open_archive
from assay.data.collected import REQUIRED, Collected, Request, new_images
from assay.data.decode import decode_into, image_size
from assay.data.fetch import content_digest, fetch
from assay.foundation.errors import DataError

SETTINGS = {"pattern": REQUIRED, "parts": {}, "size": None, "smallest": None}


def read(request: Request) -> Collected:
    """Decodes every entry that the pattern names, ordered by name."""
    settings, classes = request.settings, list(request.entry["classes"])
    pattern = re.compile(rf"(?:^|.*/)(?P<entry>{settings['pattern']})")
    (file,) = request.entry["files"]
    fetched = fetch(
        file,
        mirror=request.mirror,
        cache=request.cache,
        content=lambda path: _content(path, pattern),
    )
    with open_archive(fetched.path) as archive:
        samples = _list(archive, pattern, request)
        if fetched.images is not None and len(samples) != fetched.images:
            raise DataError(
                f"holds {len(samples)} images, {fetched.images} are expected", where=fetched.path
            )
        facts = {}
        if settings["smallest"]:
            large = samples["name"].map(
                lambda name: min(image_size(archive.read(name), name)) >= settings["smallest"]
            )
            facts = {"dropped_as_too_small": int((~large).sum())}
            samples = samples[large].reset_index(drop=True)
            if samples.empty:
                raise DataError(
                    f"contains no image of at least {settings['smallest']} pixels a side",
                    where=fetched.path,
                    remedy=f"lower {request.key('smallest')}",
                )
        size = tuple(settings["size"]) if settings["size"] else None
        images = new_images(request.folder, len(samples), request.entry["shape"])
        index = {name: row for row, name in enumerate(samples["name"])}
        samples["stored"] = decode_into(
            images,
            # In the archive's own order: a compressed tar can only be read forwards.
            ((index[name], name, archive.read(name)) for name in archive.sizes if name in index),
            size=size,
            desc=f"decode {request.name}",
            remedy=f"set {request.key('size')} to resize",
        )
    images.flush()
    return Collected(samples.drop(columns="name"), classes, [fetched.record()], facts=facts)


def _list(archive: Archive, pattern: re.Pattern, request: Request) -> pd.DataFrame:
    """One row per image: name in the archive, file, label, patient, official part."""
    label_of = {name: label for label, name in enumerate(request.entry["classes"])}
    parts = request.settings["parts"]
    template, safe = request.patient_template, request.safe_template
    rows = []
    for name in archive.sizes:
        found = pattern.fullmatch(name)
        if not found:
            continue
        groups = found.groupdict()
        if groups["class"] not in label_of:
            raise DataError(
                f"entry '{name}' is of class '{groups['class']}'",
                where=archive.path,
                remedy=f"name that class in 'classes' of data set '{request.name}'",
            )
        rows.append(
            {
                "name": name,
                "file": groups["entry"],
                "label": label_of[groups["class"]],
                "patient": template.format(**groups) if template else None,
                "patient_safe": safe.format(**groups) if safe else None,
                "official": parts.get(groups.get("split"), groups.get("split")),
            }
        )
    if not rows:
        raise DataError(
            "contains no image that matches the pattern",
            where=archive.path,
            remedy=f"correct {request.key('pattern')}",
        )
    return pd.DataFrame(rows).sort_values("file", kind="stable", ignore_index=True)


def _content(path: Path, pattern: re.Pattern) -> str:
    """The content digest of the entries that the pattern names."""

    def entries() -> Iterator[tuple[str, bytes]]:
        with open_archive(path) as archive:
            for name in archive.sizes:
                if found := pattern.fullmatch(name):
                    yield found["entry"], archive.read(name)

    return content_digest(entries())
