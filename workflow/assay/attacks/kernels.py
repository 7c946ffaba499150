"""Kernels and resampling of common corruptions; lengths grow with the image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BENCHMARK_SIZE = 32
"""Height and width of the images that CIFAR-10-C's levels were made for."""


def length_scale(images: Tensor) -> float:
    """By how much lengths in pixels grow for (n, C, H, W) images, at least 1."""
    return max(1.0, min(images.shape[-2:]) / BENCHMARK_SIZE)


def nearest_offsets(offsets: Tensor) -> Tensor:
    """The whole numbers nearest to offsets, halves rounded down as ImageMagick does: int64."""
    return (offsets - 0.5).ceil().long()


def shifted(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """x(r + down, c + right) at every pixel (r, c); the edge pixels continue outside.

    Args:
        images: (n, C, H, W).
        down, right: (n,) int64, an offset per image.
    """
    height, width = images.shape[-2:]
    rows = (torch.arange(height, device=images.device) + down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) + right[:, None]).clamp(0, width - 1)
    places = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
    planes = images.flatten(2)
    return planes.gather(2, places[:, None].expand_as(planes)).view_as(images)


def disk_kernel(radius: float, deviation: float, reach: int) -> Tensor:
    """(k, k) kernel of sum 1: the pixels within `radius`, smoothed by a Gaussian cut at `reach`."""
    inner = torch.arange(-int(radius), int(radius) + 1)
    disk = (inner[:, None] ** 2 + inner**2 <= radius**2).double()
    outer = torch.arange(-reach, reach + 1).double()
    bell = torch.exp(-(outer**2) / (2 * max(deviation, 1e-6) ** 2))
    smoothing = torch.outer(bell, bell)[None, None]
    kernel = F.conv2d(disk[None, None], smoothing, padding=2 * reach)[0, 0]
    return kernel / kernel.sum()


def block_means(size: int, share: float) -> Tensor:
    """(size, size) matrix that averages `size` pixels to share * size and repeats those."""
    reduced = max(1, int(size * share))
    return box_filter(reduced, size) @ box_filter(size, reduced)


def box_filter(size: int, to: int) -> Tensor:
    """(to, size) matrix of Pillow's box filter from `size` pixels to `to`."""
    # In whole numbers, in units of 1 / (2 to): a centre may lie exactly on a border.
    centres = (2 * torch.arange(to) + 1) * size
    away = (2 * torch.arange(size) + 1) * to - centres[:, None]
    covered = ((away > -max(size, to)) & (away <= max(size, to))).double()
    return covered / covered.sum(dim=1, keepdim=True)
