"""Any zip or tar of image files, whose entry names give class, official subset and patient.

Settings:
    pattern: regular expression for the entries to read, matched against the end of an entry's path
        (archives differ in their outer folder). Named groups: `class` is required; `split` names
        the official part; any other group may be used by the entry's ``patient.id``.
    subsets: official parts by what `split` says, where it does not say train, val or test.
    size: [H, W] to resize to; without it every image must have the entry's shape.
    smallest: images with a side below so many pixels are left out, and counted in `dataset.json`;
        null: none.
    window: of grey images deeper than 8 bits and of DICOM, ``{level, width}`` in the units of the
        images or ``{percentiles: [low, high]}`` of each image; null rejects images that need one.
    background: grey level or [red, green, blue] behind transparent pixels; null rejects them.

The entry's ``patient.id`` is a template over the pattern's groups, such as ``"{class}/{track}"``,
or null; so is its ``patient.safe.id``, a coarser id that never parts the images of one person but
may join strangers. Entries that are hidden or a system's, such as the resource forks that macOS
adds, and those that the pattern does not name are left out, and counted in ``dataset.json``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Formatter

import pandas as pd

from assay.data.archive import Archive, open_archive
from assay.data.clutter import is_clutter
from assay.data.collected import REQUIRED, Collected, Request, new_images
from assay.data.decode import Decoding, decode_into
from assay.data.fetch import content_digest, fetch
from assay.data.patients import patient_id
from assay.data.picture import picture_size
from assay.data.skipped import Skipped
from assay.foundation.errors import ConfigError, DataError

SETTINGS = {
    "pattern": REQUIRED, "subsets": {}, "size": None, "smallest": None, "window": None,
    "background": None,
}  # fmt: skip


def read(request: Request) -> Collected:
    """Decodes every entry that the pattern names, ordered by name."""
    entry, settings = request.entry, request.settings
    pattern = _pattern(request)
    if not (entry.get("classes") and entry.get("shape") and len(entry.get("files") or ()) == 1):
        raise ConfigError(
            "kind 'image_archive' needs 'classes', 'shape' and one file in 'files'",
            where=f"data set '{request.name}'",
            remedy="see docs/data.md",
        )
    decoding = Decoding.of(request, entry["shape"][0], f"data set '{request.name}', key 'shape'")
    smallest = settings["smallest"]
    if smallest is not None and (not isinstance(smallest, int) or smallest < 1):
        raise ConfigError(
            f"{smallest!r} is no number of pixels",
            where=request.key("smallest"),
            remedy="give a whole number above 0, or null",
        )
    (file,) = entry["files"]
    fetched = fetch(
        file,
        mirror=request.mirror,
        cache=request.cache,
        content=lambda path: _content(path, pattern),
    )
    with open_archive(fetched.path) as archive:
        skipped = Skipped()
        samples = _list(archive, pattern, request, skipped)
        if fetched.images is not None and len(samples) != fetched.images:
            raise DataError(
                f"holds {len(samples)} images, {fetched.images} are expected", where=fetched.path
            )
        facts = {}
        if smallest:
            large = samples["name"].map(
                lambda name: min(picture_size(archive.read(name), name)) >= smallest
            )
            facts = {"dropped_as_too_small": int((~large).sum())}
            samples = samples[large].reset_index(drop=True)
            if samples.empty:
                raise DataError(
                    f"contains no image of at least {smallest} pixels a side",
                    where=fetched.path,
                    remedy=f"lower {request.key('smallest')}",
                )
        images = new_images(request.folder, len(samples), entry["shape"])
        index = {name: row for row, name in enumerate(samples["name"])}
        decoded = decode_into(
            images,
            # In the archive's own order: a compressed tar can only be read forwards.
            ((index[name], name) for name in archive.sizes if name in index),
            archive.read,
            decoding,
            desc=f"decode {request.name}",
            remedy=f"set {request.key('size')} to resize",
        )
    images.flush()
    samples["stored"] = decoded.stored
    facts |= {**decoded.facts, "skipped": skipped.record()}
    return Collected(
        samples.drop(columns="name"), list(entry["classes"]), [fetched.record()], facts=facts
    )


def _pattern(request: Request) -> re.Pattern:
    """The pattern for the end of an entry's path; checks that it and the templates agree."""
    key = request.key("pattern")
    try:
        pattern = re.compile(rf"(?:^|.*/)(?P<entry>{request.settings['pattern']})")
    except re.error as error:
        raise ConfigError(
            f"is no regular expression ({error})", where=key, remedy="correct it"
        ) from error
    wanted = {}
    for template in (request.patient_template, request.safe_template):
        fields = Formatter().parse(template or "")
        wanted |= {field: f"'{template}'" for _, field, _, _ in fields if field is not None}
    for group, what in {**wanted, "class": "the label"}.items():
        if group not in pattern.groupindex:
            raise ConfigError(
                f"has no group '{group}', which {what} needs",
                where=key,
                remedy=f"write that part of the path as (?P<{group}>…)",
            )
    return pattern


def _matches(archive: Archive, pattern: re.Pattern) -> Iterator[tuple[str, re.Match]]:
    """The entries that the pattern names, but for a system's: what the content digest covers.

    Accents are compared in their composed form; macOS writes them decomposed.
    """
    for name in archive.sizes:
        found = pattern.fullmatch(unicodedata.normalize("NFC", name))
        if found and not is_clutter(name):
            yield name, found


def _list(
    archive: Archive, pattern: re.Pattern, request: Request, skipped: Skipped
) -> pd.DataFrame:
    """One row per image: name in the archive, file, label, patient, official part."""
    label_of = {
        unicodedata.normalize("NFC", name): label
        for label, name in enumerate(request.entry["classes"])
    }
    subsets = request.settings["subsets"]
    template, safe = request.patient_template, request.safe_template
    rows = []
    for name, found in _matches(archive, pattern):
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
                "patient": _patient(template, groups, name, request),
                "patient_safe": _patient(safe, groups, name, request),
                "official": subsets.get(groups.get("split"), groups.get("split")),
            }
        )
    if not rows:
        raise DataError(
            "contains no image that matches the pattern",
            where=archive.path,
            remedy=f"correct {request.key('pattern')}",
        )
    read = {row["name"] for row in rows}
    for name in archive.sizes:
        if name not in read:
            hidden = is_clutter(name)
            skipped.add("hidden or of the system" if hidden else "not of the pattern", name)
    skipped.tell(archive.path)
    return pd.DataFrame(rows).sort_values("file", kind="stable", ignore_index=True)


def _patient(
    template: str | None, groups: Mapping[str, str | None], name: str, request: Request
) -> str | None:
    """A template filled in, as ids are compared; null without a template."""
    if not template:
        return None
    needed = [groups[field] for _, field, _, _ in Formatter().parse(template) if field]
    # A group may match nothing on purpose; one that takes no part would join all such images.
    if None in needed or not "".join(map(str, needed)).strip():
        raise DataError(
            f"entry '{name}' has no patient: a group of '{template}' is empty",
            where=f"data set '{request.name}'",
            remedy=f"correct {request.key('pattern')} or 'patient.id'",
        )
    return patient_id(template.format(**groups))


def _content(path: Path, pattern: re.Pattern) -> str:
    """The content digest of the entries that the pattern names."""

    def entries() -> Iterator[tuple[str, bytes]]:
        with open_archive(path) as archive:
            for name, found in _matches(archive, pattern):
                yield found["entry"], archive.read(name)

    return content_digest(entries())
