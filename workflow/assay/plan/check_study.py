"""Checks of what a study shows: its tables, figures and printed numbers speak of what runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import pandas as pd

from assay.analysis.accuracy import BALLS
from assay.analysis.attack_set import NORM, SINGLE, SUITE, AttackSet
from assay.foundation import numbers
from assay.foundation.errors import ConfigError
from assay.foundation.reported import read_reported
from assay.foundation.split import Split
from assay.plan.cells import Cell, unique
from assay.plan.configuration import Configuration
from assay.plan.exclusions import sets_in
from assay.plan.keys import study as keys
from assay.plan.validation import Nested, unknown
from assay.report.kinds import PARTS, kind_of
from assay.report.needs import Bases, Examples, Measured, Need, PrintedNumbers, Setting
from assay.report.spec import MAPS, Reference, Refers, references, spec_of


def check_cells(study: Nested, where: str) -> None:
    """Each cell of the headline and of a table names one attack, or one worst case."""
    tables = ((("tables", name), spec) for name, spec in study["tables"].items())
    for keys_, part in ((("headline",), study["headline"]), *tables):
        for number, cell in enumerate(part.get("cells") or ()):
            AttackSet.of(cell, f"{where}: {'.'.join(keys_)}.cells.{number}")


def check_references(
    study: Nested, cells: Iterable[Cell], configuration: Configuration, where: Callable[..., str]
) -> None:
    """Tables, figures and the ledger may only speak of what the grid runs and papers print."""
    files = study["reported"]["files"]
    for number, file in enumerate(files):
        known = [f"{name}.csv" for name in configuration.layers.names("config/reported", ".csv")]
        if file not in known:
            place = where("reported", "files", number)
            raise unknown("file of printed numbers", file, known, place, "config/reported/")
    check_sweeps(study["reported"], configuration, where)
    check_variants(study["reported"], configuration, where)
    checks = _References(study, cells, configuration)
    rest = {key: value for key, value in study.items() if key not in ("grid", *PARTS)}
    # Its attacks are checked below: a mapping is a worst case, or has an attack for each norm.
    rest["reported"] = {k: v for k, v in study["reported"].items() if k != "attacks"}
    for one in references(keys.Study, rest):
        checks.check(one, where(*one.keys))
    place = where("reported", "attacks")
    for named in study["reported"].get("attacks", {}).values():
        for attacks in sets_in(named):
            checks.check_attacks(attacks, place)
    for part in PARTS:
        for name, written in study[part].items():
            for one in references(kind_of(part, written).Spec, written):
                checks.check(one, where(part, name, *one.keys))


class _References:
    """What a study may refer to, and the errors where it refers to something else."""

    def __init__(self, study: Nested, cells: Iterable[Cell], configuration: Configuration):
        self._study, self._configuration = study, configuration
        cells = list(cells)
        self._datasets = {cell.dataset for cell in cells}
        self._attacks = _known_attacks(cells, configuration)
        # By what is referred to: how an error calls it, what there is, and where that is listed.
        self._known: dict[Refers, tuple[str, Iterable[str], str]] = {
            Refers.MODEL: ("model in the grid", {cell.model for cell in cells}, "the grid"),
            Refers.DATASET: ("data set in the grid", self._datasets, "the grid"),
            Refers.SCHEME: (
                "split scheme in the grid",
                {Split.of(cell.split).scheme for cell in cells},
                "the grid",
            ),
            Refers.FILE: ("file of the study", study["reported"]["files"], "its reported.files"),
        }

    def check(self, one: Reference, place: str) -> None:
        """Raises an error where a reference is to nothing that the study has."""
        if one.attacks is not None:
            self.check_attacks(one.attacks, place)
        elif one.refers in self._known:
            called, known, listed = self._known[one.refers]
            if one.value not in known:
                raise unknown(f"{called} called", one.value, known, place, listed)
        elif one.refers is Refers.RADIUS:
            self._check_radius(_attacks_in(one.beside), one.value, place)
        elif one.refers is Refers.RADIUS_OF_MAPS:
            # Without maps :func:`check_needs` says what is missing.
            maps = self._study["measurements"].get(MAPS, {})
            of_maps = references(keys.Measured, maps)
            self._check_radius(_attacks_in(of_maps), one.value, place)
        elif one.refers is Refers.SOME_RADII:
            self._check_radii(_attacks_in(one.beside), one.value, place)

    def check_attacks(self, attacks: AttackSet, place: str) -> None:
        """The grid runs the attacks that a study names."""
        known = self._attacks
        if attacks in known:
            return
        kinds = {SINGLE: "attack", SUITE: "suite", NORM: "norm of attacks"}
        raise unknown(
            f"{kinds[attacks.worst_case]} in the grid called",
            attacks.name,
            [one.name for one in known if one.worst_case == attacks.worst_case],
            place,
            self._configuration.catalogue_file(
                "attacks" if attacks.worst_case == NORM else "suites"
            ),
        )

    def _check_radius(self, shown: Iterable[AttackSet], radius: float, place: str) -> None:
        for attacks in shown:
            self.check_attacks(attacks, place)
            known = self._budgets(attacks)
            if radius not in known:
                raise ConfigError(
                    f"{_found(attacks)} is not run at epsilon {radius}",
                    where=place,
                    remedy=f"its epsilons are {self._listed(known)}",
                )

    def _check_radii(self, shown: Iterable[AttackSet], radii: list, place: str) -> None:
        known: set[float] = set()
        for attacks in shown:
            self.check_attacks(attacks, place)
            known |= self._budgets(attacks)
        if known.isdisjoint(radii):
            raise ConfigError(
                "none of these radii is run",
                where=place,
                remedy=f"the attacks' epsilons are {self._listed(known)}",
            )

    def _listed(self, radii: Iterable[float]) -> str:
        catalogue = self._configuration.catalogue_file("attacks")
        return f"{', '.join(map(str, sorted(radii)))} (see {catalogue} and the scale's overrides)"

    def _budgets(self, attacks: AttackSet) -> set[float]:
        """The epsilons of an attack set on any of the study's data sets.

        All attacks of a suite must be run at an epsilon of its worst case; of a norm, one must be.
        """
        together = set.union if attacks.worst_case == NORM else set.intersection
        return set().union(
            *(
                together(
                    *(
                        set(self._configuration.entry_on("attacks", name, on)["epsilons"])
                        for name in self._attacks[attacks]
                    )
                )
                for on in self._datasets
            )
        )


def _attacks_in(found: Iterable[Reference]) -> list[AttackSet]:
    return [one.attacks for one in found if one.attacks is not None]


def check_variants(
    reported: Nested, configuration: Configuration, where: Callable[..., str]
) -> None:
    """Variants of a model are of a word, a setting and levels that a file of the study has."""
    if not reported.get("variants"):
        return
    rows = _printed(reported, configuration)
    for word, variants in reported["variants"].items():
        own = rows[rows["model"] == word]
        if own.empty:
            place = where("reported", "variants", word)
            raise unknown("model in its files called", word, set(rows["model"]), place)
        for number, variant in enumerate(variants):
            place = where("reported", "variants", word, number)
            setting = variant.get("setting", "")
            if "model" in variant and (setting or "levels" in variant):
                raise ConfigError(
                    "has a model and a setting or levels",
                    where=place,
                    remedy="write model, or setting and levels",
                )
            here = own[own["setting"] == setting]
            if here.empty:
                called = f"setting of '{word}' in its files called"
                raise unknown(called, setting, set(own["setting"]), place)
            for level in variant.get("levels", ()):
                if level not in set(here["level"]):
                    called = f"level of {setting} in its files called"
                    raise unknown(called, level, set(here["level"]), f"{place}.levels")


def _printed(reported: Nested, configuration: Configuration) -> pd.DataFrame:
    """The rows of a study's files of printed numbers."""
    files = [configuration.layers.find(f"config/reported/{file}") for file in reported["files"]]
    return read_reported([file for file in files if file])


def check_sweeps(reported: Nested, configuration: Configuration, where: Callable[..., str]) -> None:
    """A sweep of printed numbers is one of a setting that a file has, with an entry per level."""
    rows = _printed(reported, configuration)
    levels = rows[rows["setting"] != ""].groupby("setting")["level"].unique()
    attacks = configuration.catalogue["attacks"]
    for setting, sweep in reported.get("sweeps", {}).items():
        place = where("reported", "sweeps", setting)
        if setting not in levels:
            raise unknown("setting in its files called", setting, levels, place, "reported.files")
        members = level_entries(sweep, attacks)
        if not members:
            known = {one for entry in attacks.values() if (one := entry.get("sweep_of"))}
            file = configuration.catalogue_file("attacks")
            raise unknown("sweep of attacks called", sweep, known, place, file)
        if lacking := [level for level in levels[setting] if level not in members]:
            raise ConfigError(
                f"the sweep '{sweep}' has no entry for {setting} {', '.join(lacking)}",
                where=place,
                remedy=f"add it to its values, now {', '.join(members)}",
            )


def level_entries(sweep: str, attacks: Mapping[str, Nested]) -> dict[str, str]:
    """The entries of a sweep by the value of the setting that it varies, as a text."""
    members = {name: entry for name, entry in attacks.items() if entry.get("sweep_of") == sweep}
    return {str(entry["level"]): name for name, entry in members.items()}


def _known_attacks(
    cells: Iterable[Cell], configuration: Configuration
) -> dict[AttackSet, list[str]]:
    """The attack sets that a study may name, each with its attacks."""
    catalogue = configuration.catalogue
    found: dict[AttackSet, list[str]] = {}
    for suite in unique(cell.suite for cell in cells):
        members = catalogue["suites"][suite]["attacks"]
        found[AttackSet(SUITE, suite)] = members
        for attack in members:
            found[AttackSet.of(attack)] = [attack]
            norm = catalogue["attacks"][attack]["norm"]
            # Common corruptions have no ball.
            if norm in BALLS and attack not in found.setdefault(AttackSet(NORM, norm), []):
                found[AttackSet(NORM, norm)].append(attack)
    return found


def _found(attacks: AttackSet) -> str:
    """An attack set in an error's words."""
    if not attacks.worst_case:
        return f"attack '{attacks.name}'"
    return f"the worst case over {attacks.worst_case} '{attacks.name}'"


def needs_of(study: Nested, part: str) -> dict[str, list[Need]]:
    """What each of a study's ``tables`` or ``figures`` reads beside accuracies, by its name."""
    found = {}
    for name, written in study[part].items():
        kind = kind_of(part, written)
        needs = getattr(kind, "needs", None)
        found[name] = needs(spec_of(kind.Spec, written)) if needs else []
    return found


def check_needs(
    study: Nested, cells: Iterable[Cell], configuration: Configuration, where: Callable[..., str]
) -> None:
    """What tables and figures read is stored."""
    cells = list(cells)
    for part in PARTS:
        for name, needs in needs_of(study, part).items():
            for need in needs:
                _check_need(need, study, cells, configuration, partial(where, part, name))


def _check_need(
    need: Need,
    study: Nested,
    cells: Iterable[Cell],
    configuration: Configuration,
    place: Callable[..., str],
) -> None:
    match need:
        case PrintedNumbers():
            if not study["reported"]["files"]:
                raise ConfigError(
                    "the study has no printed numbers to show",
                    where=place("kind"),
                    remedy="name their files in the study's key reported.files, or take this out",
                )
        case Bases():
            _check_bases(need, cells, configuration, place(need.key))
        case Setting():
            _check_setting(need, configuration, place(need.key))
        case Measured():
            key = f"measurements.{need.measurement}"
            stored = study["measurements"].get(need.measurement, {})
            models, attacks = stored.get("models", []), stored.get("attacks", [])
            for model in need.models:
                if model not in models:
                    raise ConfigError(
                        f"no {need.measurement} of '{model}' are stored",
                        where=place(need.key),
                        remedy=f"add it to the study's key {key}.models (now: {models})",
                    )
            if need.attack and need.attack not in attacks:
                raise ConfigError(
                    f"no {need.measurement} of images attacked by '{need.attack}' are stored",
                    where=place("attack"),
                    remedy=f"add it to the study's key {key}.attacks (now: {attacks})",
                )
        case Examples():
            suites = configuration.catalogue["suites"]
            for model in need.models:
                if not any(
                    cell.model == model and need.attack in suites[cell.suite]["attacks"]
                    for cell in cells
                ):
                    raise ConfigError(
                        f"'{need.attack}' does not attack '{model}' in the grid",
                        where=place("attack"),
                        remedy="choose an attack of the suites that run on this model",
                    )
            if not configuration.scale["evaluation"]["examples"]:
                raise ConfigError(
                    "no example images are stored at this scale",
                    where=place(),
                    remedy=f"raise evaluation.examples in {configuration.scale_file()}",
                )


def _check_bases(
    need: Bases, cells: Iterable[Cell], configuration: Configuration, place: str
) -> None:
    """Each wrapper has a base network, which the grid runs wherever it runs the wrapper."""
    cells = list(cells)
    for model in need.models:
        entry = configuration.catalogue["models"][model]
        base = entry["needs"].get("base")
        if base is None:
            raise ConfigError(
                f"'{model}' has no base network",
                where=place,
                remedy="name wrappers, the entries with needs.base in "
                f"{configuration.catalogue_file('models')}",
            )
        there = {(cell.dataset, cell.split) for cell in cells if cell.model == base}
        for cell in cells:
            if cell.model == model and (cell.dataset, cell.split) not in there:
                raise ConfigError(
                    f"the base of '{model}', '{base}', is not in the grid for {cell.dataset}",
                    where=place,
                    remedy=f"add '{base}' to the models of a block with {cell.dataset}",
                )


def _check_setting(need: Setting, configuration: Configuration, place: str) -> None:
    """The setting is a number in each model's entry."""
    models = configuration.catalogue["models"]
    listed = configuration.catalogue_file("models")
    for model in need.placed:
        if model not in models:
            raise unknown("model", model, models, f"{place}, at", listed)
    for model in need.models:
        settings = models[model]["settings"]
        if need.name not in settings:
            raise unknown(f"setting of '{model}' called", need.name, settings, place, listed)
        numbers.number(settings[need.name], f"{place}: setting '{need.name}' of '{model}'")
