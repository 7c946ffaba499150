"""The error family: mistakes that a user can repair, each reported in one line."""

from __future__ import annotations


class AssayError(Exception):
    """A mistake that the user can repair; its text is a single line.

    Args:
        what: what is wrong, as a sentence without full stop.
        where: the file and key, or the argument, in which it is wrong.
        remedy: what would be right.
    """

    def __init__(self, what: str, *, where: object = None, remedy: str | None = None):
        self.what, self.where, self.remedy = what, where, remedy
        line = f"{where}: {what}" if where is not None else what
        if remedy:
            line = f"{line}; {remedy}"
        super().__init__(" ".join(line.split()))

    def __reduce__(self):
        # Exceptions cross process pools by pickling; keyword arguments need help.
        return _rebuild, (type(self), self.what, self.where, self.remedy)


def _rebuild(kind: type[AssayError], what: str, where: object, remedy: str | None) -> AssayError:
    return kind(what, where=where, remedy=remedy)


class ConfigError(AssayError):
    """A configuration file or a command-line value is wrong."""


class DataError(AssayError):
    """Images, labels or splits are missing or unusable."""


class DownloadError(DataError):
    """An archive could not be fetched or is not what it should be."""


class ModelError(AssayError):
    """A model cannot be built or its weights cannot be used."""


class TrainingError(AssayError):
    """A training cannot go on."""


class AttackError(AssayError):
    """An attack was called with something it cannot work on."""


class OutcomeError(AssayError):
    """A file of outcomes is damaged or does not follow the schema."""


class MeasurementError(AssayError):
    """A measurement cannot be made, or its arrays do not follow its schema."""
