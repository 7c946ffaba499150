"""What a run needs of the machine it runs on: a user's own images, and networks from files."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from assay.data.clutter import is_clutter
from assay.foundation.errors import ConfigError
from assay.foundation.places import below_home, located
from assay.plan.cells import unique
from assay.plan.measurements import named_files
from assay.plan.outside import check_outside
from assay.plan.validation import Nested

if TYPE_CHECKING:
    from assay.plan.plan import Plan


def watched_files(settings: Nested) -> list[str]:
    """What a run watches of a user's own folder: its class folders and the list of patients.

    Args:
        settings: of a data set's entry.
    """
    if not settings.get("folder"):
        return []
    # Where they lie is decided by the reader, assay.data.kinds.image_folder. What is missing is
    # not watched for: the reader tells it with the key that is wrong.
    folder = below_home(settings["folder"])
    if not folder.is_dir():
        return []
    classes = [place for place in folder.iterdir() if place.is_dir()]
    found = [folder, *sorted(place for place in classes if not is_clutter(place.name))]
    if settings.get("patients") and (folder / settings["patients"]).is_file():
        found.append(folder / settings["patients"])
    return [place.as_posix() for place in found]


def check_machine(plan: Plan) -> None:
    """What a run finds on this machine alone: folders of images, code and files of networks.

    Raises:
        ConfigError: one does not exist, or cannot be what its entry says.
    """
    _check_named_files(plan)
    configuration = plan.configuration
    for model in unique(item.model for item in plan.trainings):
        entry = configuration.catalogue["models"][model]
        check_outside(entry, partial(configuration.where, "models", model))
    for dataset in unique(cell.dataset for cell in plan.cells):
        entry = configuration.catalogue["datasets"][dataset]
        if entry["kind"] != "image_folder":
            continue
        place = entry["settings"].get("folder")
        folder = configuration.layers.user / below_home(place or "")
        if not place or not folder.is_dir():
            what = f"'{place}' is not a folder" if folder.exists() else f"there is no '{place}'"
            raise ConfigError(
                what if place else "no folder is given",
                where=configuration.where("datasets", dataset, "settings", "folder"),
                remedy="name the folder that holds a sub-folder of images for each class",
            )


def _check_named_files(plan: Plan) -> None:
    configuration = plan.configuration
    for name in unique(item.measurement for item in plan.measurements):
        for setting, place in named_files(configuration.catalogue["measurements"][name]).items():
            if located(place, configuration.settings) is None:
                raise ConfigError(
                    f"there is no file '{place}'",
                    where=configuration.where("measurements", name, "settings", setting),
                    remedy="name a file that is absolute, in the working folder or in data_mirror",
                )
