"""Configuration to run table: a pure function, tested without running anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from assay.analysis.accuracy import BALLS
from assay.analysis.attack_set import KEYS, NORM, SINGLE, SUITE, AttackSet
from assay.data.clutter import is_clutter
from assay.data.kinds import reader_of
from assay.data.splits import split_count
from assay.foundation.digest import code_digest
from assay.foundation.errors import AssayError, ConfigError
from assay.foundation.outline import Outline, constant_keys, outline
from assay.foundation.radius import labels_in, plain
from assay.foundation.reported import read_reported
from assay.foundation.split import Split
from assay.plan import paths
from assay.plan.configuration import Configuration, Nested, unknown
from assay.plan.exclusions import names_in, sets_in, without_excluded

# What a catalogue entry says to readers and to the plan; changing it must not make anything run
# again.
NON_FUNCTIONAL_KEYS = frozenset(
    {
        "title",
        "family",
        "source",
        "differences",
        "citation",
        "licence",
        "note",
        "substitute_for",
        "url",
        "for_datasets",
        "threat",
        "threats",
        "role",
        "single_step",
        "sweep_of",
        "level",
        "images",
        "reconstructions",
    }
)

# What a model is built with beside its settings (see assay.models.base.build).
GIVEN = ("classes", "shape", "pretrained_weights")
# What the class that an entry names must be.
BASES = {"models": "assay.models.base:Classifier", "attacks": "assay.attacks.base:Attack"}


class Training(NamedTuple):
    """One trained network: a model on one split of one data set."""

    dataset: str
    split: str
    model: str


class Cell(NamedTuple):
    """One attack job: a suite on one trained model."""

    dataset: str
    split: str
    model: str
    suite: str


class Reconstructed(NamedTuple):
    """One trained network whose reconstructions are stored, and (suite, attack) of the images."""

    dataset: str
    split: str
    model: str
    example_attacks: tuple[tuple[str, str], ...]


class SaliencyTarget(NamedTuple):
    """One trained network whose saliency maps are stored: its attack's entry and the radii."""

    attack: Nested
    epsilons: list[float]


@dataclass(frozen=True)
class StudyPlan:
    """What one study needs at the chosen scale.

    Attributes:
        name: the study's id.
        study: the study file with substitutes put in.
        cells: its attack jobs.
        features: models whose latent features are stored, per split.
        reconstructions: models whose reconstructions are stored, per split.
        saliency_targets: models whose saliency maps are stored, on the first split of each scheme.
        importance: models whose importance sampling is examined, per split.
    """

    name: str
    study: Nested
    cells: tuple[Cell, ...]
    features: tuple[Training, ...]
    reconstructions: tuple[Reconstructed, ...] = ()
    saliency_targets: tuple[Training, ...] = ()
    importance: tuple[Training, ...] = ()

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(self.study["tables"])

    @property
    def figures(self) -> tuple[str, ...]:
        return tuple(self.study["figures"])

    @property
    def models(self) -> tuple[Training, ...]:
        """The models that are attacked, one per split."""
        return _unique(Training(*cell[:3]) for cell in self.cells)

    @property
    def splits(self) -> tuple[tuple[str, str], ...]:
        return _unique(cell[:2] for cell in self.cells)


@dataclass(frozen=True)
class Plan:
    """The run table of all chosen studies at one scale.

    Attributes:
        configuration: settings, catalogue, scale and studies.
        studies: what each study needs, by its id.
        packed: whether one job evaluates a network with all its suites and measurements.
    """

    configuration: Configuration
    studies: Mapping[str, StudyPlan]
    packed: bool = False

    @property
    def scale(self) -> str:
        return self.configuration.settings["scale"]

    @property
    def seed(self) -> int:
        return self.configuration.settings["seed"]

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        return _unique(cell for study in self.studies.values() for cell in study.cells)

    @cached_property
    def trainings(self) -> tuple[Training, ...]:
        """Networks to train; models that borrow weights train nothing of their own."""
        return _unique(
            Training(cell.dataset, cell.split, model)
            for cell in self.cells
            for model in trained_for(self.configuration.catalogue["models"], cell.model)
        )

    @cached_property
    def implementations(self) -> tuple[str, ...]:
        """All code that the entries of this run name: readers, models and attacks."""
        catalogue = self.configuration.catalogue
        models = {
            name
            for cell in self.cells
            for name in (cell.model, *trained_for(catalogue["models"], cell.model))
        }
        attacks = {
            name
            for suite in {cell.suite for cell in self.cells}
            for name in catalogue["suites"][suite]["attacks"]
        }
        return (
            *sorted({self.reader(cell.dataset) for cell in self.cells}),
            *sorted({catalogue["models"][name]["implementation"] for name in models}),
            *sorted({catalogue["attacks"][name]["implementation"] for name in attacks}),
        )

    @cached_property
    def features(self) -> tuple[Training, ...]:
        return _unique(item for study in self.studies.values() for item in study.features)

    def weights_owner(self, model: str) -> str:
        """The model whose training makes `model`'s weights (itself, unless
        ``shares_weights_with``)."""
        return self.configuration.catalogue["models"][model].get("shares_weights_with") or model

    def entry(self, kind: str, name: str, dataset: str | None = None) -> Nested:
        """A catalogue entry without the prose that only readers need: fit for a rule's params.

        Args:
            kind: a catalogue.
            name: an id of it.
            dataset: the data set it is used on, of models and attacks.
        """
        if dataset is None:
            entry = self.configuration.catalogue[kind][name]
        else:
            entry = self.configuration.entry_on(kind, name, dataset)
        return plain({key: value for key, value in entry.items() if key not in NON_FUNCTIONAL_KEYS})

    def model(self, dataset: str, name: str) -> Nested:
        """A model's entry on a data set."""
        return self.entry("models", name, dataset)

    def reader(self, dataset: str) -> str:
        """The code that reads a data set of this kind, fit for a code digest."""
        return reader_of(self.configuration.catalogue["datasets"][dataset]["kind"], dataset)

    def sources(self, dataset: str) -> list[str]:
        """What a run watches of a user's own folder: its class folders and the list of patients."""
        settings = self.configuration.catalogue["datasets"][dataset]["settings"]
        if not settings.get("folder"):
            return []
        # Where they lie is decided by the reader, assay.data.kinds.image_folder. What is missing is
        # not watched for: the reader tells it with the key that is wrong.
        folder = _below_home(settings["folder"])
        if not folder.is_dir():
            return []
        classes = [place for place in folder.iterdir() if place.is_dir()]
        found = [folder, *sorted(place for place in classes if not is_clutter(place.name))]
        if settings.get("patients") and (folder / settings["patients"]).is_file():
            found.append(folder / settings["patients"])
        return [place.as_posix() for place in found]

    def scheme(self, split: str) -> tuple[Nested, int]:
        """A split id's scheme and index: ``kfold_3`` is index 3 of scheme ``kfold``."""
        name, index = Split.of(split)
        return self.entry("splits", name), index

    def suite(self, suite: str, dataset: str, model: str) -> list[Nested]:
        """A suite's attacks on a data set in order, each with its name and its code's digest.

        Attacks that look at a class's reconstructions are for generative models.
        """
        generative = self.configuration.catalogue["models"][model]["family"] == "generative"
        attacks = []
        for name in self.configuration.catalogue["suites"][suite]["attacks"]:
            entry = self.entry("attacks", name, dataset)
            if _access(entry) == "reconstructions" and not generative:
                continue
            attacks.append({"name": name, **entry, "code": code_digest(entry["implementation"])})
        return attacks

    def searches(self, suite: str) -> bool:
        """Whether any attack of a suite asks the model: others are over in seconds."""
        catalogue = self.configuration.catalogue
        return any(
            _access(catalogue["attacks"][name]) != "none"
            for name in catalogue["suites"][suite]["attacks"]
        )

    def manifest(self, study: str) -> Nested:
        """Paths of everything that the analysis of a study reads (JSON-like)."""
        plan = self.studies[study]
        return {
            "scale": self.scale,
            "seed": self.seed,
            "outcomes": [
                {
                    **cell._asdict(),
                    "path": self._at(paths.OUTCOMES, cell),
                    "examples": self._at(paths.EXAMPLES, cell),
                    "benchmark": self.suite_benchmark(cell),
                }
                for cell in plan.cells
            ],
            "models": [
                {
                    **item._asdict(),
                    "history": self._at(paths.HISTORY, self._trained(item)),
                    "facts": self._at(paths.MODEL_FACTS, self._trained(item)),
                    "benchmark": self._at(
                        paths.benchmark("train_model", paths.NETWORK_ID), self._trained(item)
                    ),
                }
                for item in plan.models
            ],
            **{
                kind: [
                    {**item._asdict(), "path": self._at(template, item)}
                    for item in (Training(*network[:3]) for network in networks)
                ]
                for kind, template, networks in (
                    ("features", paths.FEATURES, plan.features),
                    ("reconstructions", paths.RECONSTRUCTIONS, plan.reconstructions),
                    ("saliency", paths.SALIENCY, plan.saliency_targets),
                    ("importance", paths.IMPORTANCE, plan.importance),
                )
            },
            **{
                kind: [
                    {
                        "dataset": dataset,
                        "split": split,
                        "path": paths.at(template, scale=self.scale, dataset=dataset, split=split),
                    }
                    for dataset, split in plan.splits
                ]
                for kind, template in (("leakage", paths.LEAKAGE), ("leaks", paths.LEAKS))
            },
            "reported": [
                self.configuration.file(f"config/reported/{file}")
                for file in plan.study["reported"]["files"]
            ],
        }

    def outcome_files(self, study: str) -> list[str]:
        """The outcome files that a study's analysis reads."""
        return [item["path"] for item in self.manifest(study)["outcomes"]]

    def record_files(self, study: str) -> list[str]:
        """What a study's analysis reads beside outcomes: histories, facts, features, leakage."""
        manifest = self.manifest(study)
        return [
            *(item["examples"] for item in manifest["outcomes"]),
            *dict.fromkeys(
                item[key] for item in manifest["models"] for key in ("history", "facts")
            ),
            *(
                item["path"]
                for kind in (
                    "features",
                    "reconstructions",
                    "saliency",
                    "importance",
                    "leakage",
                    "leaks",
                )
                for item in manifest[kind]
            ),
        ]

    def reported_files(self, study: str) -> list[str]:
        """The files of printed numbers that a study compares itself with."""
        return self.manifest(study)["reported"]

    def weights(self, dataset: str, split: str, model: str) -> str:
        """The weights that a model decides with: its own, or those of the model it borrows from."""
        return self._at(paths.WEIGHTS, self._trained(Training(dataset, split, model)))

    def suite_benchmark(self, cell: Cell) -> str:
        """The file in which Snakemake measures the job that attacks with a suite."""
        if self.packed:
            return self._at(paths.benchmark("evaluate_model", paths.NETWORK_ID), cell)
        return self._at(paths.benchmark("run_suite", paths.SUITE_ID), cell)

    def example_attacks(self, dataset: str, split: str, model: str) -> tuple[tuple[str, str], ...]:
        """Suite and attack of the images whose reconstructions are stored, over all studies."""
        return _unique(
            pair
            for study in self.studies.values()
            for item in study.reconstructions
            if item[:3] == (dataset, split, model)
            for pair in item.example_attacks
        )

    def example_files(self, dataset: str, split: str, model: str) -> list[str]:
        """The files of example images that :meth:`example_attacks` is read from."""
        return [
            self._at(paths.EXAMPLES, Cell(dataset, split, model, suite))
            for suite in dict.fromkeys(
                suite for suite, _ in self.example_attacks(dataset, split, model)
            )
        ]

    def evaluation(self, dataset: str, split: str, model: str) -> Nested:
        """How a trained model is attacked; example images are kept where figures may show them."""
        evaluation = self.configuration.scale["evaluation"]
        if Split.of(split).is_first or self.example_attacks(dataset, split, model):
            return evaluation
        return {**evaluation, "examples": 0}

    def saliency_targets(self, dataset: str, split: str, model: str) -> SaliencyTarget:
        """What perturbs the images of a network's saliency maps; the first study decides."""
        item = Training(dataset, split, model)
        wanted = next(
            study.study["saliency"]
            for study in self.studies.values()
            if item in study.saliency_targets
        )
        entry = self.entry("attacks", wanted["attack"], dataset)
        shared = sorted(set(entry["epsilons"]).intersection(wanted["epsilons"]))
        return SaliencyTarget({"name": wanted["attack"], **entry}, plain(shared))

    def start(self, dataset: str, split: str, model: str) -> list[str]:
        """The file of another model's weights that a model's training starts from, if any."""
        first = self.configuration.catalogue["models"][model]["init_from"]
        return [self.weights(dataset, split, first)] if first else []

    def pretrained(self, model: str) -> list[str]:
        """The file of published weights that a model's training starts from, if any."""
        wanted = self.configuration.catalogue["models"][model]["settings"].get("pretrained")
        return [paths.at(paths.PRETRAINED, scale=self.scale, model=model)] if wanted else []

    def brief(self, study: str) -> Nested:
        """The study as the analysis sees it: names resolved, titles and entries beside it."""
        plan = self.studies[study]
        catalogue = self.configuration.catalogue
        names = {
            "datasets": sorted({cell.dataset for cell in plan.cells}),
            "models": list(dict.fromkeys(cell.model for cell in plan.cells)),
            "attacks": list(
                dict.fromkeys(
                    attack
                    for cell in plan.cells
                    for attack in catalogue["suites"][cell.suite]["attacks"]
                )
            ),
            "suites": list(dict.fromkeys(cell.suite for cell in plan.cells)),
            "splits": list(dict.fromkeys(Split.of(cell.split).scheme for cell in plan.cells)),
        }
        brief = {
            **plan.study,
            "reported": {**plan.study["reported"], "sweeps": self._sweeps(plan.study)},
            "name": study,
            "scale": self.scale,
            "seed": self.seed,
            "scale_facts": {
                key: value
                for key, value in self.configuration.scale.items()
                if key not in ("overrides", "substitutes", "kept_megabytes", "job_per")
            },
            "titles": {
                kind: {
                    name: catalogue[kind][name]["title"]
                    # What a scale replaces is still spoken of.
                    for name in [*names[kind], *plan.study["substitutes"].get(kind, ())]
                }
                for kind in names
            },
            **{kind: {name: catalogue[kind][name] for name in names[kind]} for kind in names},
            "datasets": {
                name: _without_places(catalogue["datasets"][name]) for name in names["datasets"]
            },
            "access": {name: _access(catalogue["attacks"][name]) for name in names["attacks"]},
            "scaled": {
                kind: {name: self._scaled(kind, name) for name in names[kind]}
                for kind in ("models", "attacks")
            },
            "rules": {
                key: self.configuration.settings[key] for key in ("ledger", "checks", "marks")
            },
        }
        # The study's own words for a radius count before those of the catalogue.
        attacks = [
            self.configuration.entry_on("attacks", name, dataset)["epsilons"]
            for name in names["attacks"]
            for dataset in names["datasets"]
        ]
        return {**plain(brief), "radii": labels_in([plan.study, attacks])}

    def _sweeps(self, study: Nested) -> dict[str, dict[str, str]]:
        """For each setting that a printed table varies, the attack of each of its levels."""
        attacks = self.configuration.catalogue["attacks"]
        sweeps = study["reported"].get("sweeps", {})
        return {setting: _levels(sweep, attacks) for setting, sweep in sweeps.items()}

    def _scaled(self, kind: str, name: str) -> dict[str, list]:
        """What the scale changed in an entry's settings and training: [here, in the catalogue]."""
        configuration = self.configuration
        owners = {"training": self.weights_owner(name)} if kind == "models" else {}
        return {
            path: values
            for part in ("settings", "training")
            for path, values in _differences(
                *(
                    {part: catalogue[kind][owners.get(part, name)].get(part)}
                    for catalogue in (configuration.catalogue, configuration.unscaled)
                )
            ).items()
        }

    def _trained(self, item: Training) -> Training:
        """The network whose training makes the weights of `item`."""
        return item._replace(model=self.weights_owner(item.model))

    def _at(self, template: str, item: Training | Cell) -> str:
        return paths.at(template, scale=self.scale, **item._asdict())


def trained_for(models: Mapping[str, Nested], model: str) -> list[str]:
    """The models that are trained so that `model` can decide, in the order of their training."""
    chain = [models[model].get("shares_weights_with") or model]
    while first := models[chain[0]]["init_from"]:
        chain.insert(0, models[first].get("shares_weights_with") or first)
    return chain


def make_plan(configuration: Configuration) -> Plan:
    """The run table of a configuration.

    Raises:
        ConfigError: a study names something that no catalogue has, or combines what does not fit.
    """
    studies = {
        name: _plan_study(name, study, configuration)
        for name, study in configuration.studies.items()
    }
    return Plan(configuration, studies, packed=configuration.scale["job_per"] == "model")


def _plan_study(name: str, written: Nested, configuration: Configuration) -> StudyPlan:
    where = configuration.study_file(name)
    _check_names(written, configuration, where)
    substitutes = configuration.scale["substitutes"]
    for kind in ("datasets", "models", "splits"):
        for original, substitute in substitutes[kind].items():
            place = f"{configuration.scale_file()}: substitutes.{kind}"
            configuration.entry(kind, original, place)
            configuration.entry(kind, substitute, place)
    study = without_excluded(written, configuration)
    named = {name for block in study["grid"] for name in names_in(block)}
    substitutes = {
        kind: {name: other for name, other in pairs.items() if name in named}
        for kind, pairs in substitutes.items()
    }
    study = _put_in(study, dict(pair for pairs in substitutes.values() for pair in pairs.items()))
    study["substitutes"] = substitutes
    cells = []
    for block in study["grid"]:
        for dataset in block["datasets"]:
            for split in _splits(block["splits"], dataset, configuration, where):
                cells += [
                    Cell(dataset, split, model, suite)
                    for model in block["models"]
                    for suite in block["suites"]
                ]
    cells = _unique(cells)
    models = {cell.model for cell in cells}
    _check_code(cells, configuration)
    _check_fit(cells, configuration, where)
    _check_single_steps(configuration)
    at = partial(configuration.in_study, name)
    _check_references(study, cells, configuration, at)
    _check_figures(study, cells, configuration, at)
    features, importance = (
        _unique(Training(*cell[:3]) for cell in cells if cell.model in set(study[part]) & models)
        for part in ("features", "importance")
    )
    reconstructions = tuple(_reconstructed(study, cells, configuration))
    saliency_targets = _unique(
        Training(*cell[:3])
        for cell in cells
        if cell.model in (study["saliency"] or {"models": ()})["models"]
        and Split.of(cell.split).is_first
    )
    return StudyPlan(name, study, cells, features, reconstructions, saliency_targets, importance)


def _reconstructed(
    study: Nested, cells: Iterable[Cell], configuration: Configuration
) -> Iterable[Reconstructed]:
    """Networks whose reconstructions are stored, each with the attacks that figures show."""
    suites = configuration.catalogue["suites"]
    for item in _unique(
        Training(*cell[:3]) for cell in cells if cell.model in study["reconstructions"]
    ):
        wanted = _unique(
            figure["attack"]
            for figure in study["figures"].values()
            if figure["kind"] == "reconstructions" and figure["model"] == item.model
        )
        shown = tuple(
            (cell.suite, attack)
            for cell in cells
            if Training(*cell[:3]) == item
            for attack in suites[cell.suite]["attacks"]
            if attack in wanted
        )
        yield Reconstructed(*item, shown)


def _splits(scheme_name: str, dataset: str, configuration: Configuration, where: str) -> list[str]:
    scheme = configuration.entry("splits", scheme_name, f"{where}: grid.splits")
    entry = configuration.catalogue["datasets"][dataset]
    if scheme["kind"] == "official" and not _has_official_parts(entry):
        raise ConfigError(
            f"data set '{dataset}' has no official split",
            where=f"{where}: grid.splits",
            remedy="use kfold or random",
        )
    patient = entry["patient"] or {}
    known = {"patient": patient.get("id"), "patient_safe": patient.get("safe")}
    if not known.get(scheme.get("group"), True):
        raise ConfigError(
            f"data set '{dataset}' has no patient ids, so '{scheme_name}' cannot group by patient",
            where=f"{where}: grid.splits",
            remedy="use a scheme with 'group: duplicate', or give the data set a patient rule",
        )
    count = split_count(scheme)
    limit = configuration.scale["splits"]
    return [str(Split(scheme_name, index)) for index in range(min(count, limit or count))]


def _has_official_parts(entry: Nested) -> bool:
    return entry["kind"] in ("torchvision", "medmnist") or "(?P<split>" in str(
        entry["settings"].get("pattern")
    )


def _check_names(study: Nested, configuration: Configuration, where: str) -> None:
    for number, block in enumerate(study["grid"]):
        for kind in ("datasets", "models", "suites"):
            for name in block[kind]:
                configuration.entry(kind, name, f"{where}: grid.{number}.{kind}")
    for key, value in _walk({part: study[part] for part in ("headline", "tables")}):
        if key[-1] == "cells" and isinstance(value, list):
            for number, cell in enumerate(value):
                AttackSet.of(cell, f"{where}: {'.'.join(map(str, key))}.{number}")
    for suite, entry in configuration.catalogue["suites"].items():
        for attack in entry["attacks"]:
            configuration.entry("attacks", attack, configuration.where("suites", suite, "attacks"))
    for model, entry in configuration.catalogue["models"].items():
        owner = entry.get("shares_weights_with")
        if owner:
            place = configuration.where("models", model, "shares_weights_with")
            if configuration.entry("models", owner, place).get("shares_weights_with"):
                raise ConfigError(
                    f"'{owner}' itself uses the weights of another model",
                    where=place,
                    remedy="name the model that is trained",
                )
        _check_start(model, configuration)


def _check_single_steps(configuration: Configuration) -> None:
    """The one-step form of an attack is another attack in the same norm."""
    for attack, entry in configuration.catalogue["attacks"].items():
        single = entry["single_step"]
        if not single:
            continue
        place = configuration.where("attacks", attack, "single_step")
        other = configuration.entry("attacks", single, place)
        if single == attack or other["norm"] != entry["norm"]:
            raise ConfigError(
                f"'{single}' is not the one-step form of '{attack}'",
                where=place,
                remedy=f"name another attack in norm {entry['norm']}, or leave it out",
            )


def _check_start(model: str, configuration: Configuration) -> None:
    """What a training starts from must be another network of the same code, and end somewhere."""
    models = configuration.catalogue["models"]
    seen = [model]
    while first := models[seen[-1]]["init_from"]:
        place = configuration.where("models", seen[-1], "init_from")
        entry = configuration.entry("models", first, place)
        if first in seen:
            raise ConfigError(
                f"{' starts from '.join([*seen, first])}",
                where=place,
                remedy="give one of them random initial weights (init_from: null)",
            )
        if entry["implementation"] != models[seen[-1]]["implementation"]:
            raise ConfigError(
                f"'{first}' has another implementation ({entry['implementation']})",
                where=place,
                remedy="name an entry of the same implementation",
            )
        seen.append(first)


def _check_code(cells: Iterable[Cell], configuration: Configuration) -> None:
    """Models and attacks of the grid must exist, with the settings and the norm of their entries.

    Their classes say the same when they are built, but only after hours of training. So does the
    reader of a data set whose setting is misspelt, after another one's download.
    """
    for dataset in _unique(cell.dataset for cell in cells):
        entry = configuration.catalogue["datasets"][dataset]
        module = reader_of(entry["kind"], dataset).partition(":")[0]
        known = constant_keys(module, "SETTINGS")
        for setting in entry["settings"].keys() - set(known):
            where = configuration.where("datasets", dataset, "settings", by=(setting,))
            place = f"workflow/{module.replace('.', '/')}.py"
            raise unknown(f"setting of {entry['kind']}", setting, known, where, place)
    suites = configuration.catalogue["suites"]
    models = configuration.catalogue["models"]
    for name in _unique(cell.model for cell in cells):
        for model in _unique((name, *trained_for(models, name))):
            where = partial(configuration.where, "models", model)
            found = _outline(models[model], where)
            _check_base("models", found, where)
            _check_settings(models[model], found, where, GIVEN)
    for attack in _unique(name for cell in cells for name in suites[cell.suite]["attacks"]):
        entry = configuration.catalogue["attacks"][attack]
        where = partial(configuration.where, "attacks", attack)
        found = _outline(entry, where)
        _check_base("attacks", found, where)
        _check_settings(entry, found, where)
        _check_unit(entry, found, where)
        norm = {**found.values, **entry["settings"]}.get("norm", entry["norm"])
        if entry["norm"] != norm:
            raise ConfigError(
                f"norm is '{entry['norm']}', but that of {found.name} is '{norm}'",
                where=where("norm"),
                remedy=f"write norm: {norm}",
            )


def _check_unit(attack: Nested, found: Outline, where: Callable[..., str]) -> None:
    """An L-infinity radius above 1 is meant for 8-bit images; searches for distances take any."""
    if attack["norm"] != "linf" or found.values.get("is_minimum_norm"):
        return
    for number, epsilon in enumerate(attack["epsilons"]):
        if epsilon > 1:
            raise ConfigError(
                f"{epsilon:g} is no L-infinity radius of images in [0, 1]",
                where=where("epsilons", number),
                remedy=f"write {epsilon:g}/255" if epsilon <= 255 else "use a radius up to 1",
            )


def _without_places(dataset: Nested) -> Nested:
    """A data set's entry without the paths of this machine, which no report publishes."""
    hidden = ("folder", "patients")
    settings = {key: v for key, v in dataset["settings"].items() if key not in hidden}
    return {**dataset, "settings": settings}


def _access(attack: Nested) -> str:
    """The access that an attack needs, see :class:`assay.attacks.base.Attack`."""
    return outline(attack["implementation"]).values["access"]  # :func:`_check_code` found it


def _outline(entry: Nested, where: Callable[..., str]) -> Outline:
    try:
        return outline(entry["implementation"])
    except AssayError as error:
        place = where("implementation")
        raise ConfigError(error.what, where=place, remedy=error.remedy) from error


def _check_base(kind: str, found: Outline, where: Callable[..., str]) -> None:
    base = BASES[kind]
    if base not in found.lineage:
        raise ConfigError(
            f"{found.name} does not inherit from {base.rpartition(':')[2]}",
            where=where("implementation"),
            remedy=f"name a class that does (see {base})",
        )


def _check_fit(cells: Iterable[Cell], configuration: Configuration, where: str) -> None:
    """Networks take the images of their data sets, and attacks find in them what they need."""
    models, suites = (configuration.catalogue[kind] for kind in ("models", "suites"))
    for dataset, model in _unique((cell.dataset, cell.model) for cell in cells):
        shape = _shape(configuration.catalogue["datasets"][dataset])
        for name in trained_for(models, model):
            wanted = configuration.entry_on("models", name, dataset)["images"] or {}
            if shape and (misfit := _misfit(shape, wanted)):
                raise ConfigError(
                    f"'{name}' cannot take the images of '{dataset}', which are {shape}: {misfit}",
                    where=f"{where}: grid",
                    remedy="take the model out for this data set, or prepare its images in another "
                    "size (settings.size)",
                )
    for model, suite in _unique((cell.model, cell.suite) for cell in cells):
        if models[model]["family"] != "generative" or models[model]["reconstructions"] is not False:
            continue
        for attack in suites[suite]["attacks"]:
            if _access(configuration.catalogue["attacks"][attack]) == "reconstructions":
                raise ConfigError(
                    f"attack '{attack}' of '{suite}' needs a reconstruction for each class, which "
                    f"'{model}' does not make",
                    where=f"{where}: grid",
                    remedy="take the suite out for this model",
                )


def _shape(dataset: Nested) -> list[int] | None:
    """[channels, height, width] of a data set's images, where its entry tells it."""
    settings = dataset["settings"]
    if dataset["shape"] or dataset["kind"] != "image_folder" or not settings.get("size"):
        return dataset["shape"]
    size = settings["size"]
    return [settings.get("channels", 1), *(size if isinstance(size, list) else [size, size])]


def _misfit(shape: list[int], wanted: Nested) -> str | None:
    if min(shape[1:]) < wanted.get("smallest", 1):
        return f"it needs at least {wanted['smallest']} pixels in height and width"
    if shape not in wanted.get("shapes", [shape]):
        return f"it takes {' or '.join(map(str, wanted['shapes']))}"
    return None


def _below_home(place: str) -> Path:
    """A path with a home folder for its ``~``; as it is where there is no such user."""
    try:
        return Path(place).expanduser()
    except RuntimeError:
        return Path(place)


def check_machine(plan: Plan) -> None:
    """What a run finds on this machine alone: the folders of a user's own images.

    Raises:
        ConfigError: one does not exist.
    """
    configuration = plan.configuration
    for dataset in _unique(cell.dataset for cell in plan.cells):
        entry = configuration.catalogue["datasets"][dataset]
        if entry["kind"] != "image_folder":
            continue
        place = entry["settings"].get("folder")
        folder = configuration.layers.user / _below_home(place or "")
        if not place or not folder.is_dir():
            what = f"'{place}' is not a folder" if folder.exists() else f"there is no '{place}'"
            raise ConfigError(
                what if place else "no folder is given",
                where=configuration.where("datasets", dataset, "settings", "folder"),
                remedy="name the folder that holds a sub-folder of images for each class",
            )


def _check_settings(
    entry: Nested, found: Outline, where: Callable[..., str], given: Iterable[str] = ()
) -> None:
    known = [name for name in found.arguments if name not in given]
    for setting in entry["settings"]:
        if setting not in known:
            module = entry["implementation"].partition(":")[0].replace(".", "/")
            place = f"workflow/{module}.py"
            owner = where("settings", by=(setting,))
            raise unknown(f"setting of {found.name}", setting, known, owner, place)


def _check_sweeps(
    reported: Nested, configuration: Configuration, where: Callable[..., str]
) -> None:
    """A sweep of printed numbers is one of a setting that a file has, with an entry per level."""
    files = [configuration.layers.find(f"config/reported/{file}") for file in reported["files"]]
    rows = read_reported(files)
    levels = rows[rows["setting"] != ""].groupby("setting")["level"].unique()
    attacks = configuration.catalogue["attacks"]
    for setting, sweep in reported.get("sweeps", {}).items():
        place = where("reported", "sweeps", setting)
        if setting not in levels:
            raise unknown("setting in its files called", setting, levels, place, "reported.files")
        members = _levels(sweep, attacks)
        if not members:
            known = {entry.get("sweep_of") for entry in attacks.values()} - {None}
            file = configuration.catalogue_file("attacks")
            raise unknown("sweep of attacks called", sweep, known, place, file)
        if lacking := [level for level in levels[setting] if level not in members]:
            raise ConfigError(
                f"the sweep '{sweep}' has no entry for {setting} {', '.join(lacking)}",
                where=place,
                remedy=f"add it to its values, now {', '.join(members)}",
            )


def _levels(sweep: str, attacks: Mapping[str, Nested]) -> dict[str, str]:
    """The entries of a sweep by the value of the setting that it varies, as a text."""
    members = {name: entry for name, entry in attacks.items() if entry.get("sweep_of") == sweep}
    return {str(entry["level"]): name for name, entry in members.items()}


def _check_references(
    study: Nested, cells: Iterable[Cell], configuration: Configuration, where: Callable[..., str]
) -> None:
    """Tables, figures and the ledger may only speak of what the grid runs and papers print."""
    datasets = {cell.dataset for cell in cells}
    schemes = {Split.of(cell.split).scheme for cell in cells}
    models = {cell.model for cell in cells}
    attacks = _known_attacks(cells, configuration)
    files, catalogue = study["reported"]["files"], configuration.catalogue_file("attacks")
    for number, file in enumerate(files):
        known = [f"{name}.csv" for name in configuration.layers.names("config/reported", ".csv")]
        if file not in known:
            place = where("reported", "files", number)
            raise unknown("file of printed numbers", file, known, place, "config/reported/")
    _check_sweeps(study["reported"], configuration, where)
    for key, value in _walk(
        {k: v for k, v in study.items() if k not in ("grid", "substitutes", "excluded")}
    ):
        name = key[-1]
        place = where(*key)
        if (key[0] in ("tables", "figures") and len(key) == 2) or (
            key[0] == "reported" and len(key) > 2
        ):
            continue  # a name that the study gives, or a word of the paper
        if name in ("models", "model", "features", "reconstructions", "importance", "within"):
            for model in names_in(value):
                if model not in models:
                    raise unknown("model in the grid called", model, models, place, "the grid")
        elif name == "schemes" or key == ("reported", "splits"):
            for scheme in names_in(value):
                if scheme not in schemes:
                    raise unknown(
                        "split scheme in the grid called", scheme, schemes, place, "the grid"
                    )
        elif name == "datasets":
            for dataset in names_in(value):
                if dataset not in datasets:
                    raise unknown(
                        "data set in the grid called", dataset, datasets, place, "the grid"
                    )
        elif name in KEYS:
            _check_attacks([_siblings(study, key)], attacks, configuration, place)
        elif name in ("attacks", "published", "corrected"):
            # What a study maps to attacks are words of the paper.
            named = value.values() if key[0] == "reported" else [value]
            _check_attacks(named, attacks, configuration, place)
        elif name == "reported" and isinstance(value, str) and value not in files:
            raise unknown("file of the study called", value, files, place, "its reported.files")
        elif name == "radii":
            figure = _siblings(study, key)
            shown = figure.get("attacks", [figure[name] for name in KEYS if name in figure])
            _check_attacks(shown, attacks, configuration, place)
            budgets = [_budgets(one, attacks, datasets, configuration) for one in sets_in(shown)]
            if (known := set().union(*budgets)).isdisjoint(value):
                raise ConfigError(
                    "none of these radii is run",
                    where=place,
                    remedy=f"the attacks' epsilons are {', '.join(map(str, sorted(known)))} "
                    f"(see {catalogue} and the scale's overrides)",
                )
        elif name == "epsilon" or key == ("saliency", "epsilons"):
            # A figure of maps shows the attack that the maps are of.
            owner = (study["saliency"] if key[0] == "figures" else _siblings(study, key)) or {}
            if not KEYS.keys() & owner.keys():
                continue  # :func:`_check_figures` says what is missing
            _check_attacks([owner], attacks, configuration, place)
            found = AttackSet.of(owner)
            known = _budgets(found, attacks, datasets, configuration)
            for wanted in value if isinstance(value, list) else [value]:
                if wanted not in known:
                    raise ConfigError(
                        f"{_found(found)} is not run at epsilon {wanted}",
                        where=place,
                        remedy=f"its epsilons are {', '.join(map(str, sorted(known)))} "
                        f"(see {catalogue} and the scale's overrides)",
                    )


def _known_attacks(
    cells: Iterable[Cell], configuration: Configuration
) -> dict[AttackSet, list[str]]:
    """The attack sets that a study may name, each with its attacks."""
    catalogue = configuration.catalogue
    found: dict[AttackSet, list[str]] = {}
    for suite in _unique(cell.suite for cell in cells):
        members = catalogue["suites"][suite]["attacks"]
        found[AttackSet(SUITE, suite)] = members
        for attack in members:
            found[AttackSet.of(attack)] = [attack]
            norm = catalogue["attacks"][attack]["norm"]
            # Natural changes have no ball.
            if norm in BALLS and attack not in found.setdefault(AttackSet(NORM, norm), []):
                found[AttackSet(NORM, norm)].append(attack)
    return found


def _check_attacks(
    named: Iterable[Any], known: Iterable[AttackSet], configuration: Configuration, place: str
) -> None:
    """The grid runs the attacks that a study names by some items."""
    wanted = next((one for item in named for one in sets_in(item) if one not in known), None)
    if wanted is None:
        return
    kinds = {SINGLE: "attack", SUITE: "suite", NORM: "norm of attacks"}
    old = {_old_name(one): one for one in known if one.worst_case}
    if not wanted.worst_case and wanted.name in old:
        key, name = next(iter(old[wanted.name].item.items()))
        raise ConfigError(
            f"'{wanted.name}' is no attack", where=place, remedy=f"write {{{key}: {name}}}"
        )
    raise unknown(
        f"{kinds[wanted.worst_case]} in the grid called",
        wanted.name,
        [one.name for one in known if one.worst_case == wanted.worst_case],
        place,
        configuration.catalogue_file("attacks" if wanted.worst_case == NORM else "suites"),
    )


def _old_name(attacks: AttackSet) -> str:
    """What a study called a worst case before it had a key of its own."""
    return f"{'all' if attacks.worst_case == SUITE else 'worst case'} {attacks.name}"


def _found(attacks: AttackSet) -> str:
    """An attack set in an error's words."""
    if not attacks.worst_case:
        return f"attack '{attacks.name}'"
    return f"the worst case over {attacks.worst_case} '{attacks.name}'"


def _budgets(
    attacks: AttackSet,
    known: Mapping[AttackSet, list[str]],
    datasets: Iterable[str],
    configuration: Configuration,
) -> set[float]:
    """The epsilons of an attack set on any of some data sets.

    All attacks of a suite must be run at an epsilon of its worst case; of a norm, one must be.
    """
    together = set.union if attacks.worst_case == NORM else set.intersection
    return set().union(
        *(
            together(
                *(
                    set(configuration.entry_on("attacks", name, on)["epsilons"])
                    for name in known[attacks]
                )
            )
            for on in datasets
        )
    )


def _check_figures(
    study: Nested, cells: Iterable[Cell], configuration: Configuration, where: Callable[..., str]
) -> None:
    """Figures of stored images and features need these to be stored."""
    suites = configuration.catalogue["suites"]
    for name, figure in study["figures"].items():
        place = partial(where, "figures", name)
        if figure["kind"] == "ledger_dumbbell" and not study["reported"]["files"]:
            raise ConfigError(
                "the study has no printed numbers to show",
                where=place("kind"),
                remedy="name their files in the study's key reported.files, or take the figure out",
            )
        if figure["kind"] == "latent_pca" and figure["model"] not in study["features"]:
            raise ConfigError(
                f"no features of '{figure['model']}' are stored",
                where=place("model"),
                remedy=f"add it to the study's key features (now: {study['features']})",
            )
        if figure["kind"] == "reconstructions" and figure["model"] not in study["reconstructions"]:
            raise ConfigError(
                f"no reconstructions of '{figure['model']}' are stored",
                where=place("model"),
                remedy="add it to the study's key reconstructions "
                f"(now: {study['reconstructions']})",
            )
        if figure["kind"] in ("saliency", "decision_regions"):
            saliency_targets = (study["saliency"] or {"models": []})["models"]
            for model in figure["models"]:
                if model not in saliency_targets:
                    raise ConfigError(
                        f"no saliency maps of '{model}' are stored",
                        where=place("models"),
                        remedy="add it to the study's key saliency.models "
                        f"(now: {saliency_targets})",
                    )
        if figure["kind"] not in ("examples", "compared_examples", "reconstructions"):
            continue
        for model in figure.get("models", [figure.get("model")]):
            if any(
                cell.model == model and figure["attack"] in suites[cell.suite]["attacks"]
                for cell in cells
            ):
                continue
            raise ConfigError(
                f"'{figure['attack']}' does not attack '{model}' in the grid",
                where=place("attack"),
                remedy="choose an attack of the suites that run on this model",
            )
        if not configuration.scale["evaluation"]["examples"]:
            raise ConfigError(
                "no example images are stored at this scale",
                where=place(),
                remedy=f"raise evaluation.examples in {configuration.scale_file()}",
            )


def _walk(value: Any, path: tuple = ()) -> Iterable[tuple[tuple, Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield (*path, key), part
            yield from _walk(part, (*path, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _walk(part, (*path, index))


def _siblings(tree: Any, path: tuple) -> Any:
    """The mapping in which the last key of a path stands."""
    for step in path[:-1]:
        tree = tree[step]
    return tree


def _differences(here: Any, whole: Any, path: str = "") -> dict[str, list]:
    """Where two trees differ: dotted path to [value here, value there]."""
    if isinstance(here, Mapping) and isinstance(whole, Mapping):
        found = {}
        for key in dict.fromkeys([*here, *whole]):
            place = f"{path}.{key}" if path else str(key)
            found |= _differences(here.get(key), whole.get(key), place)
        return found
    return {} if here == whole else {path: [here, whole]}


def _put_in(value: Any, substitutes: Mapping[str, str]) -> Any:
    """`value` with substitutes in place of the names they stand for; lists keep no repeats."""
    if isinstance(value, Mapping):
        return {key: _put_in(part, substitutes) for key, part in value.items()}
    if isinstance(value, list):
        parts = [_put_in(part, substitutes) for part in value]
        names = all(isinstance(part, str) for part in parts)
        return list(dict.fromkeys(parts)) if names else parts
    return substitutes.get(value, value) if isinstance(value, str) else value


def _unique(items: Iterable) -> tuple:
    return tuple(dict.fromkeys(items))
