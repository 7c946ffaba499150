"""Configuration to run table: a pure function, tested without running anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from assay.analysis.brief import StudyBrief
from assay.analysis.run_files import RunFiles
from assay.data.kinds import reader_of
from assay.foundation.digest import code_digest
from assay.foundation.entries import runs_on
from assay.foundation.places import located
from assay.foundation.radius import plain
from assay.foundation.split import Split
from assay.plan import brief, paths
from assay.plan.cells import Cell, Measured, Training, trained_for, unique
from assay.plan.check_entries import access
from assay.plan.configuration import Configuration
from assay.plan.machine import watched_files
from assay.plan.measurements import named_files, reads
from assay.plan.outside import contents, is_outside
from assay.plan.study_plan import StudyPlan, plan_study
from assay.plan.trainings import objectives_of
from assay.plan.validation import Nested
from assay.report.kinds import code_of

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
        "splits",
        "kept",
    }
)


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
        return unique(cell for study in self.studies.values() for cell in study.cells)

    @cached_property
    def trainings(self) -> tuple[Training, ...]:
        """Networks to train; models that borrow weights train nothing of their own."""
        return unique(
            Training(cell.dataset, cell.split, model)
            for cell in self.cells
            for model in trained_for(self.configuration.catalogue["models"], cell.model)
        )

    @cached_property
    def implementations(self) -> tuple[str, ...]:
        """All code that the entries of this run name: readers, models, attacks, measurements."""
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
            *sorted(
                {
                    code
                    for item in self.trainings
                    for code in self.training_code(item.dataset, item.model)
                }
            ),
            *sorted({catalogue["attacks"][name]["implementation"] for name in attacks}),
            *sorted(
                {
                    catalogue["measurements"][item.measurement]["implementation"]
                    for item in self.measurements
                }
            ),
        )

    def kinds(self, *studies: str) -> list[str]:
        """The code of the kinds of tables and figures that some studies (default all) show."""
        shown = [self.studies[name].study for name in studies or self.studies]
        return sorted({module for study in shown for module in code_of(study)})

    @cached_property
    def measurements(self) -> tuple[Measured, ...]:
        """What is measured of trained models beside attacks."""
        return unique(item for study in self.studies.values() for item in study.measurements)

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
        kept = {key: value for key, value in entry.items() if key not in NON_FUNCTIONAL_KEYS}
        if kind == "models" and (outside := contents(entry)):
            kept["contents"] = outside
        return plain(kept)

    def model(self, dataset: str, name: str) -> Nested:
        """A model's entry on a data set, with those of the models that it needs and their code."""
        entry = self.entry("models", name, dataset)
        needs = {}
        for role, needed in entry["needs"].items():
            found = self.model(dataset, needed)
            code = code_digest(found["implementation"])
            needs[role] = {"name": needed, **found, "code": code}
        return {**entry, "needs": needs}

    def needed(self, dataset: str, split: str, model: str) -> list[str]:
        """The weights of the models that a training needs, in the order of the entry's roles."""
        roles = self.configuration.catalogue["models"][model]["needs"]
        return [self.weights(dataset, split, needed) for needed in roles.values()]

    def training_code(self, dataset: str, model: str) -> list[str]:
        """The code that a model's training runs beside the loop: its class and its objectives."""
        entry = self.entry("models", model, dataset)
        return [entry["implementation"], *objectives_of(entry["training"])]

    def checked(self, dataset: str, model: str) -> list[str]:
        """The record of the job that checks a model from outside; none of others."""
        entry = self.configuration.catalogue["models"][model]
        if not (is_outside(entry) or contents(entry)):
            return []
        return [paths.at(paths.CHECKED, scale=self.scale, dataset=dataset, model=model)]

    def reader(self, dataset: str) -> str:
        """The code that reads a data set of this kind, fit for a code digest."""
        return reader_of(self.configuration.catalogue["datasets"][dataset]["kind"], dataset)

    def sources(self, dataset: str) -> list[str]:
        """What a run watches of a user's own folder: its class folders and the list of patients."""
        return watched_files(self.configuration.catalogue["datasets"][dataset]["settings"])

    def scheme(self, split: str) -> tuple[Nested, int]:
        """A split id's scheme and index: ``kfold_3`` is index 3 of scheme ``kfold``."""
        name, index = Split.of(split)
        return self.entry("splits", name), index

    def suite(self, suite: str, dataset: str, model: str) -> list[Nested]:
        """A suite's attacks on a data set in order, each with its name and its code's digest.

        Attacks that look at a class's reconstructions are for generative models.
        """
        victim = self.configuration.catalogue["models"][model]
        attacks = []
        for name in self.configuration.catalogue["suites"][suite]["attacks"]:
            entry = self.entry("attacks", name, dataset)
            if not runs_on(access(entry), victim):
                continue
            attacks.append({"name": name, **entry, "code": code_digest(entry["implementation"])})
        return attacks

    def searches(self, suite: str) -> bool:
        """Whether any attack of a suite asks the model: others are over in seconds."""
        catalogue = self.configuration.catalogue
        return any(
            access(catalogue["attacks"][name]) != "none"
            for name in catalogue["suites"][suite]["attacks"]
        )

    def manifest(self, study: str) -> RunFiles:
        """Where everything is that the analysis of a study reads."""
        return brief.manifest(self, study)

    def outcome_files(self, study: str) -> list[str]:
        """The outcome files that a study's analysis reads."""
        return [item.path for item in self.manifest(study).outcomes]

    def record_files(self, study: str) -> list[str]:
        """What the analysis of a study reads beside outcomes: histories, measurements, leakage …"""
        manifest = self.manifest(study)
        kinds = (manifest.measurements, manifest.leakage, manifest.leaks)
        trained = (path for item in manifest.models for path in (item.history, item.facts))
        return [
            *(item.examples for item in manifest.outcomes),
            *dict.fromkeys(trained),
            *(item.path for items in kinds for item in items),
        ]

    def reported_files(self, study: str) -> list[str]:
        """The files of printed numbers that a study compares itself with."""
        return list(self.manifest(study).reported)

    def weights(self, dataset: str, split: str, model: str) -> str:
        """The weights that a model decides with: its own, or those of the model it borrows from."""
        return self.at(paths.WEIGHTS, self.trained(Training(dataset, split, model)))

    def suite_benchmark(self, cell: Cell) -> str:
        """The file in which Snakemake measures the job that attacks with a suite."""
        if self.packed:
            return self.at(paths.benchmark("evaluate_model", paths.NETWORK_ID), cell)
        return self.at(paths.benchmark("run_suite", paths.SUITE_ID), cell)

    def measurement(self, name: str) -> Nested:
        """A measurement's entry with its name, fit for a rule's params."""
        return {"name": name, **self.entry("measurements", name)}

    def files_of(self, names: Iterable[str]) -> list[str]:
        """The files that measurements name in their settings, as far as they are there."""
        found = (
            located(place, self.configuration.settings)
            for name in names
            for place in named_files(self.configuration.catalogue["measurements"][name]).values()
        )
        return list(unique(str(path) for path in found if path))

    def measured_of(self, dataset: str, split: str, model: str) -> list[str]:
        """The measurements of one network."""
        network = Training(dataset, split, model)
        return [item.measurement for item in self.measurements if item.network == network]

    def reads(self, dataset: str, split: str, model: str, measurement: str) -> Nested:
        """What a measurement reads beside the model, see :func:`assay.plan.measurements.reads`."""
        return reads(self, Measured(dataset, split, model, measurement))

    def example_files(self, dataset: str, split: str, model: str, measurement: str) -> list[str]:
        """The files of example images that a measurement reads, one per suite."""
        examples = self.reads(dataset, split, model, measurement)["examples"]
        return [
            self.at(paths.EXAMPLES, Cell(dataset, split, model, suite))
            for suite in dict.fromkeys(suite for suite, _ in examples)
        ]

    def measuring_code(
        self, dataset: str, split: str, model: str, measurement: str
    ) -> tuple[str, ...]:
        """All code that entries name for a measurement: its own, the model's and the attack's."""
        attack = self.reads(dataset, split, model, measurement)["attack"]
        entries = (self.entry("measurements", measurement), self.entry("models", model), attack)
        return tuple(entry["implementation"] for entry in entries if entry)

    def evaluation(self, dataset: str, split: str, model: str) -> Nested:
        """How a trained model is attacked; example images are kept where they may be shown."""
        evaluation = self.configuration.scale["evaluation"]
        if Split.of(split).is_first or (dataset, split, model) in self._with_examples:
            return evaluation
        return {**evaluation, "examples": 0}

    @cached_property
    def _with_examples(self) -> frozenset[Training]:
        """The networks of which a measurement reads example images."""
        return frozenset(
            item.network for item in self.measurements if self.reads(*item)["examples"]
        )

    def start(self, dataset: str, split: str, model: str) -> list[str]:
        """The file of another model's weights that a model's training starts from, if any."""
        first = self.configuration.catalogue["models"][model]["init_from"]
        return [self.weights(dataset, split, first)] if first else []

    def pretrained(self, model: str) -> list[str]:
        """The file of published weights that a model's training starts from, if any."""
        wanted = self.configuration.catalogue["models"][model]["settings"].get("pretrained")
        return [paths.at(paths.PRETRAINED, scale=self.scale, model=model)] if wanted else []

    def brief(self, study: str) -> StudyBrief:
        """The study as the analysis sees it: names resolved, titles and entries beside it."""
        return brief.brief(self, study)

    def trained(self, item: Training) -> Training:
        """The network whose training makes the weights of `item`."""
        return item._replace(model=self.weights_owner(item.model))

    def at(self, template: str, item: Training | Cell | Measured) -> str:
        return paths.at(template, scale=self.scale, **item._asdict())


def make_plan(configuration: Configuration) -> Plan:
    """The run table of a configuration.

    Raises:
        ConfigError: a study names something that no catalogue has, or combines what does not fit.
    """
    studies = {
        name: plan_study(name, study, configuration)
        for name, study in configuration.studies.items()
    }
    return Plan(configuration, studies, packed=configuration.scale["job_per"] == "model")
