"""Foreign weights, read into our networks: state dicts of tensors, nothing else is unpickled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from assay.foundation.errors import ModelError
from assay.models.base import Classifier
from assay.models.published import read_published
from assay.models.synthesis import AnalysisBySynthesis

_SOURCE = "copy exp/VAE_swarm_MSE/nets of github.com/bethgelab/AnalysisBySynthesis there"
# Parts of a batch normalisation that a group has in the foreign file.
_NORM = ("weight", "bias", "running_mean", "running_var")


def import_weights(
    model: Classifier, format: str, folder: Path | str, mirror: Path | None = None
) -> None:
    """Reads foreign weights into a model.

    Args:
        model: of the architecture that the weights are of.
        format: a key of :data:`IMPORTERS`.
        folder: where the files lie, absolute or inside `mirror`.
        mirror: the folder of archives.

    Raises:
        ModelError: the format is unknown, a file is missing or damaged, or the weights are of
            another architecture.
    """
    if format not in IMPORTERS:
        raise ModelError(
            f"there is no format '{format}'", where="weights.format",
            remedy=f"known are {', '.join(IMPORTERS)}",
        )  # fmt: skip
    IMPORTERS[format](model, (mirror or Path()) / Path(folder).expanduser())
    model.awaits = None


def abs_bethgelab(model: Classifier, folder: Path) -> None:
    """``ABS_0.net`` ... ``ABS_9.net`` of github.com/bethgelab/AnalysisBySynthesis (Apache-2.0).

    Each is the state dict of one class's variational autoencoder: ``Encoder.conv_i`` and
    ``Decoder.conv_i`` with batch normalisations ``bn_i`` behind all but the last. The encoder's
    last layer has the means in its first half of channels and the log-variances in its second.
    """
    if not isinstance(model, AnalysisBySynthesis) or model.discriminative:
        raise ModelError(
            "the weights are those of one encoder and decoder per class", where="implementation",
            remedy="use AnalysisBySynthesis with discriminative: false, layout: abs_bethgelab",
        )  # fmt: skip
    files = [folder / f"ABS_{k}.net" for k in range(model.classes)]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise ModelError(
            f"{missing[0]} is missing" + (f", and {len(missing) - 1} more" if missing[1:] else ""),
            where=folder,
            remedy=_SOURCE,
        )
    states = [read_published(path, _SOURCE) for path in files]
    encoders, decoders = model.encoders, model.decoders
    convolutions = [m for m in encoders.layers if isinstance(m, torch.nn.Conv2d)]
    norms = [m for m in encoders.layers if isinstance(m, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        _fill(convolutions, states, files, "Encoder.conv_{}", ("weight", "bias"))
        _fill(norms, states, files, "Encoder.bn_{}", _NORM)
        last = f"Encoder.conv_{len(convolutions)}"
        for place, head in enumerate((encoders.mean, encoders.log_variance)):
            halves = [
                _half(state, last, place, path) for state, path in zip(states, files, strict=True)
            ]
            _fill([head], halves, files, last, ("weight", "bias"))
        layers = [m for m in decoders.layers if isinstance(m, torch.nn.ConvTranspose2d)]
        norms = [m for m in decoders.layers if isinstance(m, torch.nn.BatchNorm2d)]
        _fill(layers, states, files, "Decoder.conv_{}", ("weight", "bias"))
        _fill(norms, states, files, "Decoder.bn_{}", _NORM)


def _fill(modules, states, files, name: str, parts) -> None:
    """Sets parts of grouped modules: the k-th share of each is the k-th state's."""
    for number, module in enumerate(modules):
        for part in parts:
            key = f"{name.format(number)}.{part}"
            ours = getattr(module, part)
            wanted = (len(ours) // len(states), *ours.shape[1:])
            for path, state in zip(files, states, strict=True):
                if key not in state:
                    raise ModelError(f"it has no '{key}'", where=path, remedy=_SOURCE)
                if tuple(state[key].shape) != wanted:
                    raise _misshapen(key, state[key], path)
            ours.copy_(torch.cat([state[key] for state in states]))


def _half(state: Mapping[str, Tensor], name: str, place: int, path: Path) -> dict[str, Tensor]:
    """The first or second half of a layer's output channels."""
    found = {key: state[key] for key in (f"{name}.weight", f"{name}.bias") if key in state}
    for key, value in found.items():
        if not value.ndim or len(value) % 2:
            raise _misshapen(key, value, path)
    return {key: value.chunk(2)[place] for key, value in found.items()}


def _misshapen(key: str, value: Tensor, path: Path) -> ModelError:
    return ModelError(
        f"'{key}' has shape {tuple(value.shape)}: another architecture",
        where=path,
        remedy="set settings.layout: abs_bethgelab, or take the published file",
    )


IMPORTERS: Mapping[str, Callable[[Classifier, Path], None]] = {"abs_bethgelab": abs_bethgelab}
