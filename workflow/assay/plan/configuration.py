"""Reads and checks every configuration file.

A configuration is ``config.yaml`` (with the command line's ``--config`` on top), the catalogues,
one scale and the chosen studies, each from the layers of :mod:`assay.plan.layers`. Files are
checked against the closed schemas of :mod:`assay.plan.keys`, which also hold the defaults; names
are checked against the catalogues. Every complaint names the file, the key and the remedy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from assay.analysis.attack_set import NORM, SUITE, AttackSet
from assay.foundation.entries import (
    ALSO,
    ATTACK,
    RADII,
    members_of,
    named,
    with_class,
    written_entries,
)
from assay.foundation.errors import AssayError, ConfigError
from assay.foundation.numbers import number
from assay.foundation.outline import outline
from assay.foundation.sources import Keys, Source, changes, laid_over, place
from assay.plan.expand import Expanded, Library, expanded
from assay.plan.layers import Layers
from assay.plan.outside import as_built, check_sources, untrained_source
from assay.plan.trainings import completed_training, laid_over_by_name, renewed_source
from assay.plan.validation import Nested, as_number, check, checked, completed, unknown
from assay.plan.yaml_files import read

CATALOGUES = ("datasets", "splits", "models", "attacks", "suites", "measurements")


@dataclass(frozen=True)
class Configuration:
    """Everything that decides what runs, checked, with the scale's overrides applied.

    Attributes:
        settings: the keys of ``config.yaml``.
        scale: the chosen scale's file; its name is ``settings["scale"]``.
        catalogue: for each of :data:`CATALOGUES`, entry by id.
        unscaled: the same without the scale's overrides.
        studies: study files by id, names as written (substitutes not yet applied).
        sources: for each of :data:`CATALOGUES`, by id what each file says about the entry, the
            last on top; the scale's overrides are among them.
        layers: the folders that the files come from.
        written_as: study files by id, as their authors wrote them.
    """

    settings: Nested
    scale: Nested
    catalogue: dict[str, dict[str, Nested]]
    unscaled: dict[str, dict[str, Nested]]
    studies: dict[str, Nested]
    sources: dict[str, dict[str, list[Source]]]
    layers: Layers
    written_as: dict[str, Expanded]
    # What :meth:`entry_on` has given: a plan asks for the same entries at each of its cells.
    _on_datasets: dict[tuple[str, str, str], Nested] = field(
        default_factory=dict, repr=False, compare=False
    )

    def entry_on(self, kind: str, name: str, dataset: str) -> Nested:
        """A catalogue entry as it is on one data set: its ``for_datasets`` put in.

        What a file says for a data set lies on what that file says for all; the files lie over
        each other as they do in :attr:`sources`, so that a scale's cut holds on every data set.
        An attack with ``threat`` runs at the radii that the data set has in its norm, or also at
        these; a model is trained at the largest of them.
        """
        asked = kind, name, dataset
        if asked not in self._on_datasets:
            sources = self._sources_on(kind, name, dataset)
            entry = _completed_entries(kind, {name: sources})[name]
            self._on_datasets[asked] = as_built(entry) if kind == "models" else entry
        return self._on_datasets[asked]

    def _sources_on(self, kind: str, name: str, dataset: str) -> list[Source]:
        """What files say about an entry on a data set, the radii of the data set on top."""
        sources = list(_on(self.sources[kind][name], dataset))
        for path, key in RADII:
            threat = _threat(sources, path, key, self.scale_file())
            norm = threat and self._norm_at(kind, name, sources, path)
            says = reversed(self.sources["datasets"].get(dataset, ()))
            radii = next(filter(None, (source.below("threats", norm) for source in says)), None)
            if threat and radii:
                value = radii.tree
                if threat == ALSO:
                    own = Source("", (), laid_over(sources)).below(*path, key)
                    assert own is not None  # a threat was read there
                    value = _together(own.tree, radii)
                elif key == "epsilon":
                    value = _together([], radii)[-1]
                moved = (((*path, key), radii.keys),)
                sources.append(Source(radii.file, (), _nested({key: value}, path), moved))
        return sources

    def _norm_at(self, kind: str, name: str, sources: Sequence[Source], path: Keys) -> str | None:
        """The norm beside an entry's radii; what no file says is that of the class."""
        part = Source("", (), laid_over(sources)).below(*path, "norm")
        return part.tree if part else self.catalogue[kind][name].get("norm")

    def entry(self, kind: str, name: str, where: str) -> Nested:
        """One catalogue entry.

        Raises:
            ConfigError: there is none of that name; the message suggests the nearest.
        """
        entries = self.catalogue[kind]
        if name not in entries:
            raise unknown(kind.removesuffix("s"), name, entries, where, self.catalogue_file(kind))
        return entries[name]

    def where(self, kind: str, name: str, *keys: Any, by: tuple[Any, ...] = ()) -> str:
        """The file and key of (a part of) a catalogue entry."""
        return place(self.sources[kind][name], *keys, by=by)

    def catalogue_file(self, kind: str) -> str:
        """The catalogue that a complaint sends its reader to for the names of a kind."""
        return self.file(f"config/catalogue/{kind}.yaml")

    def scale_file(self) -> str:
        return self.file(f"config/scales/{self.settings['scale']}.yaml")

    def study_file(self, study: str) -> str:
        return self.file(f"config/studies/{study}.yaml")

    def in_study(self, study: str, *keys: Any) -> str:
        """The file and key of what a study says at some keys, as its author wrote it."""
        return self.written_as[study].at(*keys)

    def file(self, name: str) -> str:
        """A configuration file as the user knows it, ``config/...`` in the working folder."""
        return self.layers.shown_path(self.layers.find(name) or name)


def read_configuration(
    overrides: Mapping[str, Any] | None = None,
    layers: Layers | None = None,
    *,
    given_by: str = "--config",
    of_module: bool = False,
) -> Configuration:
    """Reads all configuration files and checks them.

    Args:
        overrides: keys of ``config.yaml`` given on the command line, laid over the files. They may
            hold what the files say, too.
        layers: the folders that hold a ``config/``; by default what comes with assay, and the
            working folder.
        given_by: how a complaint about `overrides` names them.
        of_module: whether `overrides` are all that a workflow says to this one as its module. Then
            the working folder's ``config.yaml`` counts only if they come from it: it may be the
            other workflow's, with a section for each module.

    Raises:
        ConfigError: with file, key and remedy.

    Example:
        >>> read_configuration({"scale": "smoke"}).settings["scale"]
        'smoke'
    """
    layers = layers or Layers.here()
    written = [read(path, layers) for path in layers.files("config/config.yaml")]
    if of_module:
        written = [written[0], *(s for s in written[1:] if not changes(s.tree, overrides or {}))]
    given = changes(overrides or {}, laid_over(written))
    written.append(Source(given_by, (), given))
    settings = laid_over(written)
    if isinstance(settings.get("studies"), str):
        settings["studies"] = [name.strip() for name in settings["studies"].split(",")]
    settings = checked(settings, "config", partial(place, written))
    scale_name = settings["scale"]
    scales = _stems(layers, "config/scales")
    if scale_name not in scales:
        raise unknown("scale", scale_name, scales, place(written, "scale"), "config/scales/")
    scale_source = read(layers.known(f"config/scales/{scale_name}.yaml"), layers)
    scale = checked(scale_source.tree, "scale", partial(place, [scale_source]))
    catalogue, unscaled, sources = {}, {}, {}
    for kind in CATALOGUES:
        sources[kind] = _sources(kind, layers, written, scale_source)
        plain = {
            name: [source for source in entry if source.file != scale_source.file]
            for name, entry in sources[kind].items()
        }
        unscaled[kind] = _catalogue(kind, plain)
        # What the scale does not change is completed and checked once.
        scaled = {name: e for name, e in sources[kind].items() if len(e) > len(plain[name])}
        catalogue[kind] = unscaled[kind] | _catalogue(kind, scaled)
    for entries in (catalogue, unscaled):
        sweeps = members_of(entries["attacks"])
        entries["suites"] = {
            name: {**suite, "attacks": named(suite["attacks"], sweeps)}
            for name, suite in entries["suites"].items()
        }
    configuration = Configuration(settings, scale, catalogue, unscaled, {}, sources, layers, {})
    _check_by_dataset(configuration)
    known = _stems(layers, "config/studies")
    library = Library(
        members_of(catalogue["attacks"]),
        partial(_norm, catalogue=catalogue),
        _threats(catalogue["datasets"], scale["substitutes"]["datasets"]),
    )
    studies, written_as = {}, {}
    for name in settings["studies"]:
        if name not in known:
            raise unknown("study", name, known, place(written, "studies"), "config/studies/")
        source = read(layers.known(f"config/studies/{name}.yaml"), layers)
        written_as[name] = expanded(source, library)
        studies[name] = checked(written_as[name].tree, "study", written_as[name].at)
        for part in ("tables", "figures"):
            for item in studies[name][part]:
                _check_name(item, source.at(part))
    return replace(configuration, studies=studies, written_as=written_as)


def _threats(datasets: Mapping[str, Nested], substitutes: Mapping[str, str]) -> dict[str, Nested]:
    """The radii of each data set, or of what a scale puts in its place if that has some."""
    return {
        name: datasets.get(substitutes.get(name, name), entry)["threats"] or entry["threats"]
        for name, entry in datasets.items()
    }


def _norm(attack: AttackSet, catalogue: Mapping[str, Mapping[str, Nested]]) -> str | None:
    """The norm of an attack, or of the worst case over some; None if none is known."""
    if attack.worst_case == NORM:
        return attack.name
    sweeps = members_of(catalogue["attacks"])
    names = sweeps.get(attack.name, [attack.name])
    if attack.worst_case == SUITE:
        names = catalogue["suites"].get(attack.name, {"attacks": ()})["attacks"]
    norms = {catalogue["attacks"][name]["norm"] for name in names if name in catalogue["attacks"]}
    return norms.pop() if len(norms) == 1 else None


def _sources(
    kind: str, layers: Layers, written: Iterable[Source], scale: Source
) -> dict[str, list[Source]]:
    """What the files say about the entries of a catalogue, by id, the last on top.

    The catalogue that comes with assay and its scales are made for each other: what a user changes
    in its entries lies over both. In an entry that is the user's own, the scale's ``"*"`` only
    fills what the entry does not say; an override that names the entry lies over it. What a user's
    copy of a catalogue repeats is no change.
    """
    files = layers.files(f"config/catalogue/{kind}.yaml")
    first, *others = (read(path, layers) for path in files)
    others = [source._replace(tree=changes(source.tree, first.tree)) for source in others]
    own = (source.below("catalogue", kind) for source in written)
    others += [source for source in own if source and isinstance(source.tree, Mapping)]
    for source in (first, *others):
        for name in source.tree:
            _check_name(name, source.at())
    overrides = scale.below("overrides", kind) or Source(scale.file, (), {})
    star = overrides.below("*")
    entries = written_entries([first, *others])
    found = {}
    for name, entry in entries.items():
        base = [source for number, source in entry.parts if number == 0]
        own = [source for number, source in entry.parts if number]
        over = [overrides.below(name) for name in entry.names]
        order = [*base, star, *over, *own] if entry.own == 0 else [*base, star, *own, *over]
        found[name] = [source for source in order if source]
    if kind == "models":
        found = {
            name: [renewed_source(untrained_source(part)) for part in parts]
            for name, parts in found.items()
        }
    known = {name for entry in entries.values() for name in entry.names}
    for name, tree in overrides.tree.items():
        if name != "*" and name not in known:
            catalogue = f"config/catalogue/{kind}.yaml"
            raise unknown(kind.removesuffix("s"), name, known, overrides.at(), catalogue)
        for key in ("extends", "sweep"):
            if isinstance(tree, Mapping) and key in tree:
                raise ConfigError(
                    f"a scale cannot change '{key}'",
                    where=overrides.at(name, key),
                    remedy=f"change it in config/catalogue/{kind}.yaml",
                )
    return found


def _catalogue(kind: str, sources: Mapping[str, list[Source]]) -> dict[str, Nested]:
    """The checked entries of a catalogue by id."""
    where = partial(_place_in, sources)
    entries = _completed_entries(kind, sources)
    check(entries, kind, where)
    if kind == "models":
        for name, entry in entries.items():
            check_sources(entry, partial(where, name))
        entries = {name: as_built(entry) for name, entry in entries.items()}
    return entries


def _completed_entries(kind: str, sources: Mapping[str, list[Source]]) -> dict[str, Nested]:
    """The entries of a catalogue with defaults, and numbers where their classes expect them."""
    where = partial(_place_in, sources)
    entries = {name: laid_over(parts) for name, parts in sources.items()}
    if kind == "attacks":
        entries = {
            name: _with_class(entry, partial(where, name)) for name, entry in entries.items()
        }
    if kind == "models":
        entries = {name: laid_over_by_name(parts) for name, parts in sources.items()}
        entries = {
            name: completed_training(_without_threat(entry)) for name, entry in entries.items()
        }
    entries = completed(entries, kind, where)
    for name, entry in entries.items():
        if kind in ("models", "attacks", "measurements") and isinstance(entry, dict):
            _read_numbers(entry, partial(where, name, "settings"))
    return entries


def _with_class(entry: Any, where: Callable[..., str]) -> Any:
    """An attack's entry with what its class states; what it leaves to the class needs one.

    Raises:
        ConfigError: there is no such class.
    """
    found = with_class(entry) if isinstance(entry, Mapping) else entry
    if isinstance(entry, Mapping) and not {"norm", "source"} <= found.keys():
        try:
            outline(str(entry.get("implementation", ATTACK)))
        except AssayError as error:
            place = where("implementation")
            raise ConfigError(error.what, where=place, remedy=error.remedy) from error
    return found


def _without_threat(entry: Any) -> Any:
    """A model's entry as its training knows it: ``epsilon`` holds what ``threat`` says."""
    adversary = Source("", (), entry).below("training", "adversary")
    if not adversary or not isinstance(adversary.tree, Mapping):
        return entry
    rest = {key: value for key, value in adversary.tree.items() if key != "threat"}
    return {**entry, "training": {**entry["training"], "adversary": rest}}


def _place_in(
    sources: Mapping[str, list[Source]], name: str, *keys: Any, by: tuple[Any, ...] = ()
) -> str:
    return place(sources[name], *keys, by=by)


def _read_numbers(entry: Nested, where: Callable[..., str]) -> None:
    """Makes numbers of the texts among an entry's settings, where its class expects numbers."""
    settings = entry.get("settings")
    try:
        whole = outline(entry["implementation"]).numbers
    except (AssayError, KeyError, AttributeError, TypeError):
        return  # what is wrong with it is reported by the schema, or when a study uses the entry
    if not isinstance(settings, dict):
        return
    for key in whole.keys() & settings.keys():
        settings[key] = as_number(settings[key], partial(where, key), whole=whole[key])


def _on(sources: Iterable[Source], dataset: str) -> Iterable[Source]:
    """The sources of an entry on one data set."""
    for source in sources:
        if isinstance(source.tree, Mapping):
            rest = {key: value for key, value in source.tree.items() if key != "for_datasets"}
            yield source._replace(tree=rest)
        if own := source.below("for_datasets", dataset):
            yield own


def _threat(sources: Sequence[Source], path: Keys, key: str, scale: str) -> Any:
    """What an entry says of the radii of data sets: its own for those without, or ``also``.

    What decides is the topmost file that speaks of radii; a scale cuts those of the data sets that
    have none of their own.
    """
    for source in reversed(sources):
        part = source.below(*path)
        tree = part.tree if part and isinstance(part.tree, Mapping) else {}
        if source.file != scale and tree.keys() & {"threat", key}:
            return tree.get("threat")
    return None


def _together(own: Any, radii: Source) -> list[Any]:
    """Radii of an attack and of a data set, as they are written, in the order of their size."""
    listed = radii.tree if isinstance(radii.tree, list) else [radii.tree]
    every = [*(own if isinstance(own, list) else [own]), *listed]
    found = {number(radius, radii.at()): radius for radius in reversed(every)}
    return [found[size] for size in sorted(found)]


def _nested(tree: Nested, path: Keys) -> Nested:
    for step in reversed(path):
        tree = {step: tree}
    return tree


def _check_by_dataset(configuration: Configuration) -> None:
    """What an entry changes for a data set must name one, and leave an entry that is right."""
    for kind in ("models", "attacks"):
        for name, entry in configuration.catalogue[kind].items():
            for dataset in entry["for_datasets"]:
                where = configuration.where(kind, name, "for_datasets", dataset)
                configuration.entry("datasets", dataset, where)
                sources = list(_on(configuration.sources[kind][name], dataset))
                _catalogue(kind, {name: sources})


def _stems(layers: Layers, folder: str) -> list[str]:
    """Names of the files of a folder, which name scales and studies."""
    stems = layers.names(folder)
    for stem in stems:
        _check_name(stem, f"{folder}/")
    return stems


def _check_name(name: Any, where: str) -> None:
    """Names become folders and words of command lines, also of a scheduler's."""
    if not re.fullmatch("[a-z0-9_]+", str(name)):
        raise ConfigError(
            f"'{name}' cannot be a name",
            where=where,
            remedy="use lower-case letters, digits and underscores",
        )
