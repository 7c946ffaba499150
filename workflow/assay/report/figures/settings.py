"""What figures share that compare models which differ in one number of their entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from assay.analysis.titles import radius_text, title_of
from assay.foundation.errors import ConfigError
from assay.foundation.keys import key
from assay.foundation.numbers import number
from assay.foundation.radius import Radius
from assay.report.figures.parts import Study

SettingName = Annotated[str, key("key of the models' settings (config/catalogue/models.yaml)")]
Unit = Annotated[Radius, key("unit in which the setting is shown, such as 1/255; default 1", gt=0)]
Label = Annotated[str, key("what the setting is called; default its key")]


def value_on(
    study: Study, model: str, dataset: str, setting: str, at: Mapping[str, Any] | None = None
) -> float:
    """The value of a setting of a model's entry on a data set.

    Args:
        study: the study, for entries.
        model: the model's id.
        dataset: the data set's id.
        setting: a key of the entry's settings.
        at: values of models whose entries need not have it, by their ids.

    Raises:
        ConfigError: the model has no such setting, or it is no number.

    Example:
        >>> study = Study(models={"api": {"settings": {"radius": "6/255"}}, "madry": {}})
        >>> value_on(study, "api", "mnist", "radius") == 6 / 255
        True
        >>> value_on(study, "madry", "mnist", "radius", {"madry": 0})
        0.0
    """
    where = f"model '{title_of(study, 'models', model)}'"
    if model in (at or {}):
        return number((at or {})[model], where)
    settings = study.settings_on(model, dataset)
    if setting not in settings:
        raise ConfigError(
            f"its entry has no setting '{setting}'",
            where=where,
            remedy="name models that have it, or give its value under the key at",
        )
    return number(settings[setting], f"{where}: {setting}")


def in_unit(value: float, unit: float) -> str:
    """A value in a unit, without it.

    Example:
        >>> in_unit(6 / 255, 1 / 255), in_unit(0.5, 1)
        ('6', '0.5')
    """
    return f"{value / unit:.6g}"


def label_of(setting: str, label: str, unit: float, study: Study) -> str:
    """What an axis of the setting says.

    Example:
        >>> label_of("radius", "", 1 / 255, Study(radii=("1/255",)))
        'radius (in 1/255)'
        >>> label_of("eot_samples", "", 1, Study())
        'eot samples'
    """
    words = label or setting.replace("_", " ")
    return words if unit == 1 else f"{words} (in {radius_text(unit, study)})"
