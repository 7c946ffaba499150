"""What the analysis of a study is given: the files of its run, and the study with its entries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from assay.analysis.brief import StudyBrief, parse_brief
from assay.analysis.run_files import RunFile, RunFiles
from assay.foundation.entries import is_trained
from assay.foundation.radius import labels_in, plain
from assay.foundation.split import Split
from assay.plan import paths
from assay.plan.check_entries import access
from assay.plan.check_study import level_entries
from assay.plan.measurements import published
from assay.plan.validation import Nested

if TYPE_CHECKING:
    from assay.plan.plan import Plan


def manifest(plan: Plan, study: str) -> RunFiles:
    """Where everything is that the analysis of a study reads."""
    found = plan.studies[study]
    leakage, leaks = (
        tuple(
            RunFile(
                dataset=dataset,
                split=split,
                path=paths.at(template, scale=plan.scale, dataset=dataset, split=split),
            )
            for dataset, split in found.splits
        )
        for template in (paths.LEAKAGE, paths.LEAKS)
    )
    training = paths.benchmark("train_model", paths.NETWORK_ID)
    return RunFiles(
        scale=plan.scale,
        seed=plan.seed,
        outcomes=tuple(
            RunFile(
                **cell._asdict(),
                path=plan.at(paths.OUTCOMES, cell),
                examples=plan.at(paths.EXAMPLES, cell),
                benchmark=plan.suite_benchmark(cell),
            )
            for cell in found.cells
        ),
        models=tuple(
            RunFile(
                **item._asdict(),
                history=plan.at(paths.HISTORY, plan.trained(item)),
                facts=plan.at(paths.MODEL_FACTS, plan.trained(item)),
                benchmark=plan.at(training, plan.trained(item)),
            )
            for item in found.models
        ),
        measurements=tuple(
            RunFile(**item._asdict(), path=plan.at(paths.MEASUREMENT, item))
            for item in found.measurements
        ),
        leakage=leakage,
        leaks=leaks,
        reported=tuple(
            plan.configuration.file(f"config/reported/{file}")
            for file in found.study["reported"]["files"]
        ),
    )


def brief(plan: Plan, study: str) -> StudyBrief:
    """The study as the analysis sees it: names resolved, titles and entries beside it."""
    found = plan.studies[study]
    catalogue = plan.configuration.catalogue
    names = {
        "datasets": sorted({cell.dataset for cell in found.cells}),
        "models": list(dict.fromkeys(cell.model for cell in found.cells)),
        "attacks": list(
            dict.fromkeys(
                attack
                for cell in found.cells
                for attack in catalogue["suites"][cell.suite]["attacks"]
            )
        ),
        "suites": list(dict.fromkeys(cell.suite for cell in found.cells)),
        "splits": list(dict.fromkeys(Split.of(cell.split).scheme for cell in found.cells)),
        "measurements": list(found.study["measurements"]),
    }
    needs = [catalogue["models"][name]["needs"] for name in names["models"]]
    bases = [own["base"] for own in needs if "base" in own]
    brief = {
        **found.study,
        "reported": {**found.study["reported"], "sweeps": _sweeps(plan, found.study)},
        "name": study,
        "scale": plan.scale,
        "seed": plan.seed,
        "scale_facts": {
            key: value
            for key, value in plan.configuration.scale.items()
            if key not in ("overrides", "substitutes", "kept_megabytes", "job_per")
        },
        "titles": {
            kind: {
                name: catalogue[kind][name]["title"]
                # What a scale replaces is still spoken of, and so is what a wrapper decides with.
                for name in [
                    *names[kind],
                    *found.study["substitutes"].get(kind, ()),
                    *(bases if kind == "models" else ()),
                ]
            }
            for kind in names
        },
        **{
            kind: {name: _entry(plan, kind, name, names["datasets"]) for name in names[kind]}
            for kind in names
        },
        "datasets": {
            name: without_places(catalogue["datasets"][name]) for name in names["datasets"]
        },
        "measurements": {
            name: {**published(catalogue["measurements"][name]), **wanted}
            for name, wanted in found.study["measurements"].items()
        },
        "access": {name: access(catalogue["attacks"][name]) for name in names["attacks"]},
        "scaled": {
            kind: {name: _scaled(plan, kind, name) for name in names[kind]}
            for kind in ("models", "attacks")
        },
        "rules": {key: plan.configuration.settings[key] for key in ("ledger", "checks", "marks")},
    }
    # The study's own words for a radius count before those of the catalogue.
    attacks = [
        plan.configuration.entry_on("attacks", name, dataset)["epsilons"]
        for name in names["attacks"]
        for dataset in names["datasets"]
    ]
    tree = {**plain(brief), "radii": labels_in([found.study, attacks])}
    return parse_brief(tree, where=plan.configuration.study_file(study))


def _entry(plan: Plan, kind: str, name: str, datasets: Iterable[str]) -> Nested:
    """An entry of the catalogue; below ``for_datasets`` its settings as they are there.

    What an entry that extends another one says lies on what the other says for a data set.
    """
    configuration = plan.configuration
    entry = configuration.catalogue[kind][name]
    there = [dataset for dataset in datasets if dataset in (entry.get("for_datasets") or {})]
    own = {
        dataset: {"settings": configuration.entry_on(kind, name, dataset)["settings"]}
        for dataset in there
    }
    return {**entry, "for_datasets": own} if entry.get("for_datasets") else entry


def _sweeps(plan: Plan, study: Nested) -> dict[str, dict[str, str]]:
    """For each setting that a printed table varies, the attack of each of its levels."""
    attacks = plan.configuration.catalogue["attacks"]
    sweeps = study["reported"].get("sweeps", {})
    return {setting: level_entries(sweep, attacks) for setting, sweep in sweeps.items()}


def _scaled(plan: Plan, kind: str, name: str) -> dict[str, list]:
    """What the scale changed in an entry's settings and training: [here, in the catalogue]."""
    configuration = plan.configuration
    owners = {"training": plan.weights_owner(name)} if kind == "models" else {}
    trained = kind == "models" and is_trained(configuration.catalogue[kind][owners["training"]])
    found: dict[str, list] = {}
    for part in ("settings", "training") if trained else ("settings",):
        here, whole = (
            {part: catalogue[kind][owners.get(part, name)].get(part)}
            for catalogue in (configuration.catalogue, configuration.unscaled)
        )
        found |= differences(here, whole)
    return found


def without_places(dataset: Nested) -> Nested:
    """A data set's entry without the paths of this machine, which no report publishes."""
    hidden = ("folder", "patients")
    settings = {key: v for key, v in dataset["settings"].items() if key not in hidden}
    return {**dataset, "settings": settings}


def differences(here: Any, whole: Any, path: str = "") -> dict[str, list]:
    """Where two trees differ: dotted path to [value here, value there]."""
    if isinstance(here, Mapping) and isinstance(whole, Mapping):
        found = {}
        for key in dict.fromkeys([*here, *whole]):
            place = f"{path}.{key}" if path else str(key)
            found |= differences(here.get(key), whole.get(key), place)
        return found
    return {} if here == whole else {path: [here, whole]}
