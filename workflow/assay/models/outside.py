"""Trained networks from outside: a class of any module, a file, or a name of a library.

:func:`network` is the implementation of every such entry of the catalogue. A class that is a
:class:`Classifier` is used as it is; any other module becomes an :class:`Outside`.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from assay.attacks.decision import logits_of, takes_generator
from assay.attacks.torch_state import drawn_state, seeded
from assay.attacks.victim import View
from assay.foundation.errors import ModelError
from assay.models.base import Classifier, resized
from assay.models.loading import (
    built,
    from_exported,
    from_outside,
    from_timm,
    from_torchscript,
    from_torchvision,
)

# What an adversary averages a random network's gradient over, as the random models of this package.
EOT_SAMPLES = 10


class Outside(Classifier):
    """Any trained torch module as a model, with the weights it has.

    Images are resized, grey ones repeated for networks of three channels, and normalised inside the
    model. The network stays in evaluation mode, as its own ``train`` sets it, and its weights take
    part in no gradient: it is evaluated, never trained. Whether it is random is measured: a network
    that draws numbers, or answers differently when it is asked again, is.

    Args:
        network: images (B, C, H, W) to logits (B, K), or to anything with a field ``logits``. It
            may take a ``torch.Generator`` as its second argument.
        classes: number of classes K.
        shape: (C, H, W) of the images.
        normalisation: ``mean`` and ``std``, each one number or one for each channel of the network.
        input_size: side of the images that the network takes, or its (height, width); None: images
            keep their size.
        channels: of the images that the network takes; None: as many as the normalisation has
            values, else those of the images.
        output: ``logits``, or ``probabilities``, whose logarithm then is the logit.
        batch: the only number of images that the network takes at a time; None: any.

    Raises:
        ModelError: the images cannot be given the network's channels, or a value is impossible.

    Example:
        >>> model = Outside(nn.Flatten(), classes=12, shape=(1, 2, 2), channels=3)
        >>> model.logits(torch.zeros(5, 1, 2, 2)).shape, model.stochastic
        (torch.Size([5, 12]), False)
    """

    # A network may reshape what it computes with `view`, which needs channels outermost.
    channels_last = False

    def __init__(
        self,
        network: nn.Module,
        *,
        classes: int,
        shape: tuple[int, int, int],
        normalisation: Mapping[str, Any] | None = None,
        input_size: int | Sequence[int] | None = None,
        channels: int | None = None,
        output: str = "logits",
        batch: int | None = None,
    ):
        super().__init__(classes=classes, shape=shape)
        self.input_size = _size(input_size, self.shape)
        mean, std = _normalisation(normalisation)
        self.channels = channels or (len(mean) if len(mean) > 1 else self.shape[0])
        if self.channels != self.shape[0] and self.shape[0] != 1:
            raise ModelError(
                f"the images have {self.shape[0]} channels, and the network takes {self.channels}",
                where="normalisation" if channels is None else None,
                remedy="give one value for each channel of the images",
            )
        if output not in ("logits", "probabilities"):
            raise ModelError(
                f"'{output}' is not allowed", where="output", remedy="use logits or probabilities"
            )
        self.output, self.batch = output, batch
        self._stochastic: bool | None = None
        self.network = _for_inference(network)
        # Not part of the weights, which have the names of the network's own file.
        self.register_buffer("mean", mean.view(1, -1, 1, 1), persistent=False)
        self.register_buffer("deviation", std.view(1, -1, 1, 1), persistent=False)
        self.training = False

    @property
    def weights_module(self) -> nn.Module:
        return self.network

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        """Whether two evaluations of one image may differ; measured at the first use."""
        if self._stochastic is None:
            self._stochastic = self._is_random()
        return self._stochastic

    def train(self, mode: bool = True) -> Outside:
        """Changes nothing: there is only the mode in which the network is evaluated."""
        return self

    def logits(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        images = self._prepared(images)
        if not self.stochastic:
            return self._evaluated(images, generator)
        with _randomness(generator, images.device):
            return self._evaluated(images, generator)

    def features(self, images: Tensor) -> Tensor:
        """The input of the last linear layer, (B, F), in single precision; the logits where that
        cannot be seen.
        """
        layers = [part for part in self.network.modules() if isinstance(part, nn.Linear)]
        head = layers[-1] if layers and layers[-1].out_features == self.classes else None
        if head is None or self.batch:
            return self._fixed(images)
        seen: list[Tensor] = []
        handle = head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            logits = self._fixed(images)
        finally:
            handle.remove()
        return seen[-1].flatten(1).float() if seen and len(seen[-1]) == len(images) else logits

    def views(self) -> dict[str, View]:
        """``model``: the network; of a random one ``expectation``, a mean over samples."""
        if not self.stochastic:
            return {"model": View(self.logits)}
        return {"expectation": View(self.logits, passes=EOT_SAMPLES, eot_samples=EOT_SAMPLES)}

    def __deepcopy__(self, memo: dict) -> Outside:
        copied = memo[id(self)] = type(self).__new__(type(self))
        with warnings.catch_warnings():  # torch copies exported programs by its own former names
            warnings.simplefilter("ignore", FutureWarning)
            copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return copied

    def _prepared(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] as the network takes them."""
        images = resized(images, self.input_size)
        if self.channels != images.shape[1]:
            images = images.expand(-1, self.channels, -1, -1)
        return (images - self.mean) / self.deviation

    def _evaluated(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """(B, K) logits of prepared images, in single precision."""
        tensors = (*self.network.parameters(), *self.network.buffers())
        dtype = next((t.dtype for t in tensors if t.is_floating_point()), images.dtype)
        images = images.to(dtype)
        if takes_generator(self.network.forward):
            generator = generator or torch.Generator(device=images.device)
            found = self._in_batches(lambda piece: self.network(piece, generator), images)
        else:
            found = self._in_batches(self.network, images)
        if self.output == "probabilities":
            return found.float().clamp_min(torch.finfo(torch.float32).tiny).log()
        return found.float()

    def _in_batches(self, function: Callable[[Tensor], Any], images: Tensor) -> Tensor:
        """What a function makes of images; in batches of the only size that it takes, if any."""
        if not self.batch:
            return logits_of(function(images))
        pieces = []
        for piece in images.split(self.batch):
            missing = self.batch - len(piece)
            filled = (
                torch.cat([piece, piece[-1:].expand(missing, -1, -1, -1)]) if missing else piece
            )
            pieces.append(logits_of(function(filled))[: len(piece)])
        return torch.cat(pieces)

    def _fixed(self, images: Tensor) -> Tensor:
        """The logits with the same random numbers each time."""
        generator = torch.Generator(device=images.device).manual_seed(0)
        with seeded(0, images.device):
            return self._evaluated(self._prepared(images), generator)

    def _is_random(self) -> bool:
        device = self.mean.device
        images = torch.rand(2, *self.shape, generator=torch.Generator().manual_seed(0)).to(device)
        found, drew = [], False
        with torch.no_grad(), from_outside("the network fails on images of this shape"):
            for seed in range(2):
                generator = torch.Generator(device=device).manual_seed(seed)
                with seeded(seed, device):
                    before = drawn_state(device, generator)
                    found.append(self._evaluated(self._prepared(images), generator))
                    drew = drew or before != drawn_state(device, generator)
        return drew or not torch.allclose(*found, rtol=1e-3, atol=1e-4, equal_nan=True)


def network(
    *,
    classes: int,
    shape: tuple[int, int, int],
    implementation: str | None = None,
    torchscript: str | None = None,
    exported: str | None = None,
    torchvision: str | None = None,
    timm: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    normalisation: Mapping[str, Any] | None = None,
    input_size: int | Sequence[int] | None = None,
    output: str | None = None,
    needs: Mapping[str, Classifier] | None = None,
) -> Classifier:
    """A network from outside as a model; one of the five sources is given.

    Args:
        classes: number of classes K.
        shape: (C, H, W) of the images.
        implementation: ``module:name`` of a class, of a function that returns a module, or of a
            module. The working folder is searched first.
        torchscript: a file that ``torch.jit.save`` wrote, relative to the working folder.
        exported: a file that ``torch.export.save`` wrote.
        torchvision: a name of ``torchvision.models``.
        timm: a name of ``timm``.
        arguments: keywords of the class, function or library. One that takes the number of classes
            (`loading.CLASSES`) or the ``shape`` of the images is given them.
        normalisation, input_size, output: see :class:`Outside`.
        needs: trained models by role, such as the ``base`` of a wrapper; the class or function of
            `implementation` is given those that it has an argument for.

    Raises:
        ModelError: it cannot be loaded or built; the message names the key of the entry.
        ConfigError: there is no such module or name.
    """
    arguments = dict(arguments or {})
    options: dict[str, Any] = {
        "normalisation": normalisation,
        "input_size": input_size,
        "output": output,
    }
    options = {key: value for key, value in options.items() if value is not None}
    if implementation is not None:
        found = built(implementation, arguments, classes=classes, shape=shape, needs=needs or {})
        if isinstance(found, Classifier):
            if options:
                raise ModelError(
                    f"'{implementation}' is a Classifier, which prepares its images itself",
                    where=next(iter(options)),
                    remedy="take the key out",
                )
            return found
        return Outside(found, classes=classes, shape=shape, **options)
    if torchscript is not None:
        module = from_torchscript(torchscript)
    elif exported is not None:
        module, options["batch"] = from_exported(exported, _size(input_size, shape))
    elif torchvision is not None:
        options["channels"] = 3
        module = from_torchvision(torchvision, {"num_classes": classes, **arguments})
    elif timm is not None:
        options["channels"] = arguments.get("in_chans", 3)
        module = from_timm(timm, {"num_classes": classes, **arguments})
    else:
        raise ModelError("no network is named", where="implementation")
    made = Outside(module, classes=classes, shape=shape, **options)
    if file := torchscript or exported:
        made.pretrained = f"as in {Path(file).name}"
    return made


def _for_inference(module: nn.Module) -> nn.Module:
    """The module in the mode in which it decides, its weights without gradients.

    What a network keeps in training mode by a ``train`` of its own (dropout that also draws when it
    decides) stays so.
    """
    for part in module.modules():
        # torch.export replaces these two of each program by functions that raise, since the graph
        # keeps the mode that it was exported in. Without them there is nothing else to switch.
        if isinstance(part, GraphModule):
            for name in {"train", "eval"} & vars(part).keys():
                delattr(part, name)
    with from_outside("the network cannot be put into evaluation mode"):
        module.eval()
    for weight in module.parameters():  # TorchScript has no `requires_grad_` for all of them
        weight.requires_grad_(False)
    return module


def _size(given: int | Sequence[int] | None, shape: tuple[int, int, int]) -> tuple[int, int]:
    """(H, W) of the images that a network takes; where nothing is given, that of the images."""
    if given is None:
        return shape[1:]
    height, width = (given, given) if isinstance(given, int) else given
    return int(height), int(width)


def _normalisation(given: Mapping[str, Any] | None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, (C,) each."""
    given = given or {"mean": 0.0, "std": 1.0}
    mean, std = (torch.tensor(given[key], dtype=torch.float32).view(-1) for key in ("mean", "std"))
    if len(mean) != len(std):
        raise ModelError(
            f"{len(mean)} means for {len(std)} deviations",
            where="normalisation",
            remedy="give one number of each, or one for each channel",
        )
    if not bool((std > 0).all()):
        raise ModelError("a standard deviation is not above 0", where="normalisation.std")
    return mean, std


@contextlib.contextmanager
def _randomness(generator: torch.Generator | None, device: torch.device) -> Iterator[None]:
    """torch's, NumPy's and Python's global generators, seeded from the one that is passed in."""
    place = generator.device if generator is not None else "cpu"
    seed = int(torch.randint(2**31, (), generator=generator, device=place))
    with seeded(seed, device):
        yield
