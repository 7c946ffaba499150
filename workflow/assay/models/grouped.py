"""K small networks, one per class, that run as one: every layer has K groups.

A batch of codes (B, K, D) is decoded to images (B, K, C, H, W) by one pass, whose k-th group of
channels sees nothing but the k-th code: no loop over classes, in training as in inference. Layer
sizes are those of Table 2.1 of Ju 2021.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        groups: how many encoders; each sees its own image.
        dropout: of the features.
    """

    def __init__(self, sizes: Layout, groups: int, dropout: float = DROPOUT):
        super().__init__()
        self.groups, self.latent_dim = groups, sizes.latent_dim
        layers: list[nn.Module] = []
        channels, side = sizes.shape[0], sizes.shape[1:]
        for width, kernel, stride, padding in sizes.encoder:
            layers += [
                nn.Conv2d(
                    groups * channels, groups * width, kernel, stride, padding, groups=groups
                ),
                nn.BatchNorm2d(groups * width),
                nn.ELU() if sizes.elu else nn.LeakyReLU(LEAK),
            ]
            channels, side = width, tuple((s + 2 * padding - kernel) // stride + 1 for s in side)
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
        groups: how many decoders; each sees its own code.
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
                    nn.ELU() if sizes.elu else nn.ReLU(),
                ]
            channels = width
        self.layers = nn.Sequential(*layers, nn.Sigmoid())

    def forward(self, codes: Tensor) -> Tensor:
        """(B, G, D) to (B, G, C, H, W)."""
        images = self.layers(codes.flatten(1)[:, :, None, None])
        return images.view(len(codes), self.groups, *self.shape)


class Discriminators(nn.Module):
    """Codes to the logits of `groups` discriminators: positive where a code seems to be prior's.

    Args:
        sizes: of the layers.
        groups: how many; with 1, one judges the codes of all classes.
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


def log_prior(logits: Tensor) -> Tensor:
    """log D in nats from a discriminator's logits; finite however sure it is."""
    return -functional.softplus(-logits)
