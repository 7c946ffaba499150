"""Checks of the catalogue entries that a study names: they exist, fit each other and their code."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from assay.data.kinds import reader_of
from assay.foundation.errors import AssayError, ConfigError
from assay.foundation.outline import Outline, constant_keys, outline, source_file
from assay.plan.cells import Cell, trained_for, unique, waits_for
from assay.plan.configuration import Configuration
from assay.plan.outside import is_outside, shown_sources
from assay.plan.trainings import check_training, objective_outline, phases_of
from assay.plan.validation import Nested, unknown

# What a model is built with beside its settings (see assay.models.base.build).
GIVEN = ("classes", "shape", "pretrained_weights")
WRAPPER = "assay.models.wrapper:Wrapper"
# What the class that an entry names must be.
BASES = {
    "models": "assay.models.base:Classifier",
    "attacks": "assay.attacks.attack:Attack",
    "measurements": "assay.evaluation.measurements.base:Measurement",
}


def check_names(study: Nested, configuration: Configuration, where: str) -> None:
    for number, block in enumerate(study["grid"]):
        for kind in ("datasets", "models", "suites"):
            for name in block[kind]:
                configuration.entry(kind, name, f"{where}: grid.{number}.{kind}")
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
        _check_needs(model, configuration)


def check_single_steps(configuration: Configuration) -> None:
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
        if _code(entry) != _code(models[seen[-1]]):
            raise ConfigError(
                f"'{first}' has another implementation ({entry['implementation']})",
                where=place,
                remedy="name an entry of the same implementation",
            )
        seen.append(first)


def _code(entry: Nested) -> tuple[str, ...]:
    """What builds a network: entries of equal code have weights of the same names."""
    outside = shown_sources(entry) if is_outside(entry) else ""
    return entry["implementation"], outside


def _check_needs(model: str, configuration: Configuration, seen: tuple[str, ...] = ()) -> None:
    """The models that a training waits for exist, and none waits for itself."""
    models = configuration.catalogue["models"]
    owner = models[model].get("shares_weights_with") or model
    for key, needed in waits_for(models[owner]).items():
        place = configuration.where("models", owner, *key.split("."))
        configuration.entry("models", needed, place)
        if needed in (*seen, model):
            raise ConfigError(
                f"'{needed}' needs itself ({' needs '.join([*seen, model, needed])})",
                where=place,
                remedy="name a model that can be trained without this one",
            )
        _check_needs(needed, configuration, (*seen, model))


def _check_roles(entry: Nested, found: Outline, where: Callable[..., str]) -> None:
    """The class of an entry, or an objective of its training, takes the models that it needs."""
    roles = [name for name in found.arguments if name not in GIVEN]
    for phase in phases_of(entry["training"]):
        roles += objective_outline(phase["objective"]["name"], where).arguments
    for role in entry["needs"]:
        if role not in roles:
            at, place = where("needs", by=(role,)), source_file(entry["implementation"])
            raise unknown("role of a model called", role, roles, at, place)
    if WRAPPER in found.lineage and "base" not in entry["needs"]:
        raise ConfigError(
            f"{found.name} needs a model as its base",
            where=where("needs"),
            remedy="write needs: {base: ...} with the id of a model",
        )


def check_code(cells: Iterable[Cell], configuration: Configuration) -> None:
    """Models and attacks of the grid must exist, with the settings and the norm of their entries.

    Their classes say the same when they are built, but only after hours of training. So does the
    reader of a data set whose setting is misspelt, after another one's download.
    """
    for dataset in unique(cell.dataset for cell in cells):
        entry = configuration.catalogue["datasets"][dataset]
        module = reader_of(entry["kind"], dataset).partition(":")[0]
        known = constant_keys(module, "SETTINGS")
        for setting in entry["settings"].keys() - set(known):
            where = configuration.where("datasets", dataset, "settings", by=(setting,))
            what = f"setting of {entry['kind']}"
            raise unknown(what, setting, known, where, source_file(module))
    suites = configuration.catalogue["suites"]
    models = configuration.catalogue["models"]
    for name in unique(cell.model for cell in cells):
        for model in unique((name, *trained_for(models, name))):
            where = partial(configuration.where, "models", model)
            for dataset in unique(cell.dataset for cell in cells if cell.model == name):
                training = configuration.entry_on("models", model, dataset)["training"]
                check_training(training, partial(where, "training"))
            if is_outside(models[model]):
                continue  # `check_machine` looks at its code, which other machines need not have
            found = checked_class("models", models[model], where, GIVEN)
            _check_roles(models[model], found, where)
    for attack in unique(name for cell in cells for name in suites[cell.suite]["attacks"]):
        entry = configuration.catalogue["attacks"][attack]
        where = partial(configuration.where, "attacks", attack)
        found = checked_class("attacks", entry, where)
        _check_unit(entry, found, where)
        _check_views(entry, found, where)
        norm = {**found.values, **entry["settings"]}.get("norm", entry["norm"])
        if entry["norm"] != norm:
            raise ConfigError(
                f"norm is '{entry['norm']}', but that of {found.name} is '{norm}'",
                where=where("norm"),
                remedy=f"write norm: {norm}",
            )


def checked_class(
    kind: str, entry: Nested, where: Callable[..., str], given: Iterable[str] = ()
) -> Outline:
    """The class that an entry names, which has its settings.

    Args:
        kind: one of :data:`BASES`.
        entry: of that catalogue.
        where: gives the file and place of the value at some keys of the entry.
        given: arguments of the class that no entry sets.

    Raises:
        ConfigError: there is no such class, it is none of this kind, or a setting is none of its.
    """
    found = _outline(entry, where)
    _check_base(kind, found, where)
    _check_settings(entry, found, where, given)
    return found


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


def _check_views(attack: Nested, found: Outline, where: Callable[..., str]) -> None:
    """The views that an attack searches are a list of names, and the attack searches on views."""
    views = attack["settings"].get("views")
    if views is None:
        return
    place = where("settings", "views")
    if not isinstance(views, list) or not views or not all(isinstance(v, str) for v in views):
        raise ConfigError(
            f"{views!r} names no view",
            where=place,
            remedy="write a list of names such as [base_model], or null for all views",
        )
    needed = found.values["access"]
    if "decision" in views and needed not in ("score", "decision"):
        raise ConfigError(
            f"{found.name} needs more than the decision", where=place, remedy="name views"
        )
    if needed == "none" or found.values["ignores_views"]:
        raise ConfigError(
            f"{found.name} searches on no view of a model", where=place, remedy="leave it out"
        )


def _check_settings(
    entry: Nested, found: Outline, where: Callable[..., str], given: Iterable[str] = ()
) -> None:
    known = [name for name in found.arguments if name not in given]
    for setting in entry["settings"]:
        if setting not in known:
            owner, place = where("settings", by=(setting,)), source_file(entry["implementation"])
            raise unknown(f"setting of {found.name}", setting, known, owner, place)


def access(attack: Nested) -> str:
    """The access that an attack needs, see :class:`assay.attacks.attack.Attack`."""
    return outline(attack["implementation"]).values["access"]  # :func:`check_code` found it


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


def check_fit(cells: Iterable[Cell], configuration: Configuration, where: str) -> None:
    """Networks take the images of their data sets, and attacks find in them what they need."""
    models, suites = (configuration.catalogue[kind] for kind in ("models", "suites"))
    for dataset, model in unique((cell.dataset, cell.model) for cell in cells):
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
    for dataset, suite in unique((cell.dataset, cell.suite) for cell in cells):
        for attack in suites[suite]["attacks"]:
            _check_target(attack, dataset, configuration)
    for model, suite in unique((cell.model, cell.suite) for cell in cells):
        if models[model]["family"] != "generative" or models[model]["reconstructions"] is not False:
            continue
        for attack in suites[suite]["attacks"]:
            if access(configuration.catalogue["attacks"][attack]) == "reconstructions":
                raise ConfigError(
                    f"attack '{attack}' of '{suite}' needs a reconstruction for each class, which "
                    f"'{model}' does not make",
                    where=f"{where}: grid",
                    remedy="take the suite out for this model",
                )


def _check_target(attack: str, dataset: str, configuration: Configuration) -> None:
    """The class that an attack drives images to is one of the data set's."""
    target = configuration.entry_on("attacks", attack, dataset)["settings"].get("target")
    classes = configuration.catalogue["datasets"][dataset]["classes"]
    if isinstance(target, int) and classes and target >= len(classes):
        raise ConfigError(
            f"{target} is none of the {len(classes)} classes of '{dataset}', counted from 0",
            where=configuration.where("attacks", attack, "settings", "target"),
            remedy="take the attack out for this data set, or name another class",
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
