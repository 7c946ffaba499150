"""Foreign weights, read into our networks: state dicts of tensors, nothing else is unpickled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from assay.foundation.errors import ModelError
from assay.foundation.files import digest_file
from assay.models.base import Classifier
from assay.models.published import read_published
from assay.models.synthesis import AnalysisBySynthesis

_SOURCE = "copy exp/VAE_swarm_MSE/nets of github.com/bethgelab/AnalysisBySynthesis there"
# Parts of a batch normalisation that a group has in the foreign file.
_NORM = ("weight", "bias", "running_mean", "running_var")


def import_weights(
    model: Classifier, format: str, *, mirror: Path | None = None, **where: Path | str
) -> None:
    """Reads foreign weights into a model.

    Args:
        model: of the architecture that the weights are of.
        format: a key of :data:`IMPORTERS`.
        mirror: the folder of archives.
        **where: the other keys of a catalogue entry's ``weights``: ``folder``, absolute or inside
            `mirror`, for a format of several files; ``file`` with ``key``, ``prefix`` and
            ``sha256`` for a state dict.

    Raises:
        ModelError: the format is unknown, a file is missing or damaged, or the weights are of
            another architecture.
    """
    if format not in IMPORTERS:
        raise ModelError(
            f"there is no format '{format}'", where="weights.format",
            remedy=f"known are {', '.join(IMPORTERS)}",
        )  # fmt: skip
    if "folder" in where:
        where = {**where, "folder": (mirror or Path()) / Path(where["folder"]).expanduser()}
    IMPORTERS[format](model, **where)
    model.awaits = None


def state_dict(
    model: Classifier,
    file: str,
    *,
    key: str | None = None,
    prefix: str = "",
    sha256: str | None = None,
) -> None:
    """A state dict of the model's own network, as safetensors or as ``torch.save`` wrote it.

    Args:
        model: whose network has parts of these names.
        file: relative to the working folder.
        key: under which the file has the state dict, where it has more than that.
        prefix: what each name in the file begins with and none of the network does.
        sha256: digest of the file.

    Raises:
        ModelError: the file is missing, damaged, another one, or of another architecture.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise ModelError(
            f"there is no file '{file}'",
            where="weights.file",
            remedy="paths are relative to the working folder",
        )
    digest = digest_file(path)
    if sha256 and digest != sha256.lower():
        raise ModelError(
            f"the SHA-256 of '{file}' is {digest}",
            where="weights.sha256",
            remedy="name the file that you mean, or its digest",
        )
    found = read_published(path, "name the file of this network", key=key)
    found = {name.removeprefix(prefix): value for name, value in found.items()}
    module = model.weights_module
    own = module.state_dict()
    # The first versions of torch did not count batches.
    lacking = [n for n in own if n not in found and not n.endswith("num_batches_tracked")]
    extra = [name for name in found if name not in own]
    other = [n for n in own if n in found and own[n].shape != found[n].shape]
    if lacking or extra:
        raise ModelError(
            f"lacks '{lacking[0]}', which the network has"
            if lacking
            else f"has '{extra[0]}', which the network lacks",
            where=path,
            remedy=_prefixed(list(own), list(found)) or "name the file of this network",
        )
    if other:
        shapes = [tuple(state[other[0]].shape) for state in (found, own)]
        raise ModelError(
            f"'{other[0]}' has shape {shapes[0]}, and in the network {shapes[1]}",
            where=path,
            remedy="name the file of this network for these classes, or change its settings",
        )
    module.load_state_dict({**own, **found})
    model.pretrained = f"{path.name}, SHA-256 {digest[:12]}"


def _prefixed(own: list[str], found: list[str]) -> str | None:
    """What to write where the file's names are those of the network behind one more word."""
    first = next(iter(own), "")
    ends = [name.removesuffix(first) for name in found if name.endswith(first)]
    prefix = next((end for end in ends if end and f"{end}{own[-1]}" in found), None)
    return prefix and f"write weights.prefix: {prefix}"


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


IMPORTERS: Mapping[str, Callable[..., None]] = {
    "state_dict": state_dict,
    "abs_bethgelab": abs_bethgelab,
}
