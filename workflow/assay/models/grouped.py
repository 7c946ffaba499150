"""K small networks, one per class, that run as one: every layer has K groups.

A batch of codes (B, K, D) is decoded to images (B, K, C, H, W) by one pass, whose k-th group of
channels depends on the k-th code only: no loop over classes, in training as in inference. Layer
sizes are those of Table 2.1 of Ju 2021.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from assay.foundation.errors import ModelError

LEAK = 0.2
DROPOUT = 0.2


@dataclass(frozen=True)
class Layout:
    """The sizes of one generative classifier's networks.

    Attributes:
        shape: (C, H, W) of the images that they fit.
        latent_dim: D.
        encoder, decoder: (channels, kernel, stride, padding) of each layer. The decoder's last one
            makes the image; its channels are the image's.
        discriminator: hidden units of each layer.
        elu: ELU after every hidden layer, where the thesis has leaky ReLU in the encoder and ReLU
            in the decoder.
        dense: whether the decoder begins with a dense layer from the code to as many units as its
            first layer has channels.
    """

    shape: tuple[int, int, int]
    latent_dim: int
    encoder: tuple[tuple[int, int, int, int], ...]
    decoder: tuple[tuple[int, int, int, int], ...]
    discriminator: tuple[int, ...]
    elu: bool = False
    dense: bool = True

    def sizes(self) -> dict[str, int]:
        """Every size by the name that it has in Table 2.1's list of printed numbers."""
        found = {"latent_dimensions": self.latent_dim}
        for part, layers in (("encoder", self.encoder), ("decoder", self.decoder)):
            for number, layer in enumerate(layers, start=1):
                for name, size in zip(
                    ("channels", "kernel", "stride", "padding"), layer, strict=True
                ):
                    found[f"{part}.layer{number}.{name}"] = size
        for number, units in enumerate(self.discriminator, start=1):
            found[f"discriminator.hidden{number}.neurons"] = units
        return found


_COLOUR_DECODER = ((64, 4, 1, 0), (64, 4, 2, 1), (32, 4, 2, 1), (16, 4, 2, 1), (3, 1, 1, 0))
LAYOUTS = {
    "grey28": Layout(
        shape=(1, 28, 28),
        latent_dim=10,
        encoder=((16, 5, 2, 2), (32, 5, 2, 2), (64, 5, 2, 2), (64, 4, 1, 1)),
        decoder=((32, 4, 1, 0), (32, 5, 2, 0), (16, 5, 2, 0), (8, 4, 1, 0), (1, 1, 1, 0)),
        discriminator=(256, 128),
    ),
    "traffic32": Layout(
        shape=(3, 32, 32),
        latent_dim=16,
        encoder=((16, 5, 2, 2), (32, 5, 2, 2), (64, 5, 2, 2), (128, 4, 1, 0)),
        decoder=_COLOUR_DECODER,
        discriminator=(256, 128),
    ),
    "svhn32": Layout(
        shape=(3, 32, 32),
        latent_dim=40,
        encoder=((32, 5, 2, 2), (64, 5, 2, 2), (128, 5, 2, 2), (128, 4, 1, 0)),
        decoder=_COLOUR_DECODER,
        discriminator=(512, 256),
    ),
    # The public networks of Schott et al. 2019 (bethgelab/AnalysisBySynthesis).
    "abs_bethgelab": Layout(
        shape=(1, 28, 28),
        latent_dim=8,
        encoder=((32, 5, 1, 0), (32, 4, 2, 0), (64, 3, 2, 0)),
        decoder=((32, 4, 1, 0), (16, 5, 2, 0), (16, 5, 2, 0), (1, 4, 1, 0)),
        discriminator=(256, 128),
        elu=True,
        dense=False,
    ),
}


def layout_for(name: str | None, shape: tuple[int, int, int]) -> Layout:
    """The layout of that name, or, for None, the first one whose images have that shape.

    Raises:
        ModelError: there is none of that name, or its networks make images of another shape.
    """
    if name is None:
        fitting = [known for known in LAYOUTS.values() if known.shape == tuple(shape)]
    else:
        fitting = [LAYOUTS[name]] if name in LAYOUTS else []
    if not fitting or fitting[0].shape != tuple(shape):
        fits = ", ".join(f"{key} {known.shape}" for key, known in LAYOUTS.items())
        raise ModelError(
            f"no network {name or ''} makes images of shape {tuple(shape)}".replace("  ", " "),
            where="settings.layout",
            remedy=f"prepare the images in another size; there are {fits}",
        )
    return fitting[0]


class Encoders(nn.Module):
    """Images to the Gaussians of `groups` encoders.

    Args:
        sizes: of the layers.
        groups: how many encoders; each has its own image.
        dropout: of the features.
    """

    def __init__(self, sizes: Layout, groups: int, dropout: float = DROPOUT):
        super().__init__()
        self.groups, self.latent_dim = groups, sizes.latent_dim
        layers: list[nn.Module] = []
        channels, *sides = sizes.shape
        for width, kernel, stride, padding in sizes.encoder:
            layers += [
                nn.Conv2d(
                    groups * channels, groups * width, kernel, stride, padding, groups=groups
                ),
                nn.BatchNorm2d(groups * width),
                nn.ELU(inplace=True) if sizes.elu else nn.LeakyReLU(LEAK, inplace=True),
            ]
            channels, sides = width, [(s + 2 * padding - kernel) // stride + 1 for s in sides]
        side = sides[0], sides[1]
        self.layers = nn.Sequential(*layers, nn.Dropout(dropout))
        # A dense layer on a group's feature map is a convolution as large as the map.
        self.mean = nn.Conv2d(groups * channels, groups * sizes.latent_dim, side, groups=groups)
        self.log_variance = nn.Conv2d(
            groups * channels, groups * sizes.latent_dim, side, groups=groups
        )
        self.features_dim = channels * side[0] * side[1]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, G, C, H, W) to the means and the log-variances, two tensors (B, G, D)."""
        features = self.layers(images.flatten(1, 2))
        shape = (len(images), self.groups, self.latent_dim)
        return self.mean(features).view(shape), self.log_variance(features).view(shape)


class Decoders(nn.Module):
    """Codes to the images of `groups` decoders, in [0, 1].

    Args:
        sizes: of the layers.
        groups: how many decoders; each has its own code.
        dropout: of the first layer's units.
    """

    def __init__(self, sizes: Layout, groups: int, dropout: float = DROPOUT):
        super().__init__()
        self.groups, self.shape = groups, sizes.shape
        channels, layers = sizes.latent_dim, []
        if sizes.dense:
            channels = sizes.decoder[0][0]
            layers.append(nn.Conv2d(groups * sizes.latent_dim, groups * channels, 1, groups=groups))
        layers.append(nn.Dropout(dropout))
        for place, (width, kernel, stride, padding) in enumerate(sizes.decoder):
            layers.append(
                nn.ConvTranspose2d(
                    groups * channels, groups * width, kernel, stride, padding, groups=groups
                )
            )
            if place < len(sizes.decoder) - 1:
                layers += [
                    nn.BatchNorm2d(groups * width),
                    nn.ELU(inplace=True) if sizes.elu else nn.ReLU(inplace=True),
                ]
            channels = width
        self.layers = nn.Sequential(*layers, nn.Sigmoid())
        self._frozen: tuple[list[tuple[int, int]], _Frozen] | None = None

    def forward(self, codes: Tensor) -> Tensor:
        """(B, G, D) to (B, G, C, H, W)."""
        return self.decoding()(codes)

    def decoding(self) -> Callable[[Tensor], Tensor]:
        """What :meth:`forward` does with the weights as they are now, for many calls."""
        if self.training or any(item.requires_grad for item in self.parameters()):
            return self._by_layers
        now = versions(self)
        if self._frozen is None or self._frozen[0] != now:
            # Attacks decode in inference mode, too, whose tensors no gradient may pass.
            with torch.inference_mode(False), torch.no_grad():
                self._frozen = now, _Frozen(self)
        return self._frozen[1]

    def _by_layers(self, codes: Tensor) -> Tensor:
        images = self.layers(codes.flatten(1)[:, :, None, None])
        return images.view(len(codes), self.groups, *self.shape)


class _Frozen:
    """Decoders in evaluation whose weights take no gradients: the same images by less work.

    Each norm is in the weights of the layer before it. All up to the first feature map is one
    matrix per group, because a code is a map of one pixel.
    """

    def __init__(self, decoders: Decoders):
        self._groups, self._shape = decoders.groups, decoders.shape
        layers: list[Any] = list(decoders.layers)
        self._stages = []
        # Between transposed convolutions: maybe a norm, then what activates, maybe dropout.
        starts = [n for n, layer in enumerate(layers) if isinstance(layer, nn.ConvTranspose2d)]
        for start, end in zip(starts, [*starts[1:], len(layers)], strict=True):
            layer, *after = layers[start:end]
            weight, bias = layer.weight.unflatten(0, (self._groups, -1)), layer.bias
            if isinstance(after[0], nn.BatchNorm2d):
                norm, *after = after
                scale = norm.weight / (norm.running_var + norm.eps).sqrt()
                weight = weight * scale.view(self._groups, 1, -1, 1, 1)
                bias = (bias - norm.running_mean) * scale + norm.bias
            self._stages.append((layer, weight, bias, after[0]))
        self._first = self._as_matrix(layers[0], *self._stages.pop(0))
        self._stages = [(layer, w.flatten(0, 1), *rest) for layer, w, *rest in self._stages]

    def _as_matrix(
        self, dense: Any, layer: nn.ConvTranspose2d, weight: Tensor, bias: Tensor, activate
    ) -> tuple[Tensor, Tensor, tuple[int, ...], nn.Module]:
        """(G, D, pixels), (G, 1, pixels), the map's height and width, and what activates it."""
        matrix = weight.flatten(2)
        pixels = layer.kernel_size[0] * layer.kernel_size[1]
        bias = bias.repeat_interleave(pixels).view(self._groups, 1, -1)
        if isinstance(dense, nn.Conv2d):
            assert dense.bias is not None
            before = dense.weight.flatten(1).unflatten(0, (self._groups, -1)).transpose(1, 2)
            bias = bias + dense.bias.view(self._groups, 1, -1) @ matrix
            matrix = before @ matrix
        return matrix, bias, layer.kernel_size, activate

    def __call__(self, codes: Tensor) -> Tensor:
        matrix, bias, side, activate = self._first
        images = torch.baddbmm(bias, codes.transpose(0, 1), matrix).transpose(0, 1)
        images = activate(images.reshape(len(codes), -1, *side))
        for layer, weight, bias, activate in self._stages:
            images = functional.conv_transpose2d(
                images, weight, bias, layer.stride, layer.padding, groups=self._groups
            )
            images = activate(images)
        return images.view(len(codes), self._groups, *self._shape)


class Discriminators(nn.Module):
    """Codes to the logits of `groups` discriminators: positive where a code seems to be prior's.

    Args:
        sizes: of the layers.
        groups: how many; with 1, one discriminator for the codes of all classes.
    """

    def __init__(self, sizes: Layout, groups: int):
        super().__init__()
        self.groups = groups
        layers: list[nn.Module] = []
        width = sizes.latent_dim
        for hidden in sizes.discriminator:
            layers += [
                nn.Conv1d(groups * width, groups * hidden, 1, groups=groups),
                nn.LeakyReLU(LEAK),
            ]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Conv1d(groups * width, groups, 1, groups=groups))

    def forward(self, codes: Tensor) -> Tensor:
        """(B, K, D) to (B, K)."""
        if self.groups == 1:
            # One network for all: the classes are its positions.
            return self.layers(codes.transpose(1, 2)).squeeze(1)
        return self.layers(codes.flatten(1)[:, :, None]).squeeze(2)


def versions(module: nn.Module) -> list[tuple[int, int]]:
    """Where each weight lies and how often it was written to: equal as long as none changed."""
    tensors = (*module.parameters(), *module.buffers())
    return [(item.data_ptr(), item._version) for item in tensors]


def squared_errors(images: Tensor, made: Tensor) -> Tensor:
    """||x - g||^2 of images (B, C, H, W) and what each class makes of them, (B, K, C, H, W).

    Returns:
        (B, K), in squared pixel values.

    Example:
        >>> squared_errors(torch.zeros(2, 1, 2, 2), torch.ones(2, 3, 1, 2, 2)).tolist()
        [[4.0, 4.0, 4.0], [4.0, 4.0, 4.0]]
    """
    return (images[:, None] - made).flatten(2).square().sum(dim=2)


def log_prior(logits: Tensor) -> Tensor:
    """log D in nats from a discriminator's logits; finite however sure it is."""
    return -functional.softplus(-logits)
