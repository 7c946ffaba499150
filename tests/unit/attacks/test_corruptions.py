"""Natural perturbations against their definitions."""

import io
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage
from skimage.color import hsv2rgb, rgb2hsv
from sklearn.datasets import load_sample_image
from toys import generator

from assay.attacks.corruptions import (
    JPEG,
    Brightness,
    BrightnessStandard,
    Contrast,
    ContrastStandard,
    DefocusBlur,
    Gamma,
    GaussianNoise,
    GaussianNoiseStandard,
    Graded,
    ImpulseNoise,
    MotionBlur,
    Pixelate,
    Rotation,
    ShotNoise,
    Translation,
)
from assay.attacks.victim import Victim
from assay.foundation.errors import AttackError

GRADED = [
    BrightnessStandard,
    ContrastStandard,
    GaussianNoiseStandard,
    ShotNoise,
    ImpulseNoise,
    DefocusBlur,
    MotionBlur,
    Gamma,
    JPEG,
    Pixelate,
    Rotation,
    Translation,
]
RANDOM = [GaussianNoiseStandard, ShotNoise, ImpulseNoise, MotionBlur, Rotation, Translation]
SEVERITIES = [1, 2, 3, 4, 5]
every_graded = pytest.mark.parametrize("attack", GRADED, ids=lambda kind: kind.__name__)


def perturbed(attack, images, epsilons, seed=0):
    """Through a victim that is always right, so that every image is perturbed."""
    victim = Victim(
        logits=lambda x, g: torch.tensor([[1.0, 0.0]]).repeat(len(x), 1),
        classes=2,
        shape=images.shape[1:],
        device="cpu",
    )
    labels = torch.zeros(len(images), dtype=torch.long)
    return attack(victim, images, labels, epsilons, generator(seed)).images


@pytest.fixture
def colour():
    return torch.rand(6, 3, 8, 8, generator=generator(5))


@pytest.fixture
def grey():
    return torch.rand(6, 1, 8, 8, generator=generator(6))


def test_published_brightness_multiplies(grey):
    result = perturbed(Brightness(), grey, [1.3])[0]
    np.testing.assert_allclose(result, np.clip(1.3 * grey.numpy(), 0, 1), atol=1e-6)


def test_published_contrast_stretches_around_the_mean_of_the_whole_image(colour):
    x = colour.numpy()
    mean = x.mean(axis=(1, 2, 3), keepdims=True)
    result = perturbed(Contrast(), colour, [4.0])[0]
    np.testing.assert_allclose(result, np.clip(4 * (x - mean) + mean, 0, 1), atol=1e-5)


def test_standard_brightness_adds_to_the_value_of_hsv(colour):
    colour[0, :, 0, 0] = 0.0  # black has no hue and becomes grey
    for severity, c in enumerate((0.05, 0.1, 0.15, 0.2, 0.3), start=1):
        hsv = rgb2hsv(colour.numpy(), channel_axis=1)
        hsv[:, 2] = np.clip(hsv[:, 2] + c, 0, 1)
        result = perturbed(BrightnessStandard(), colour, [severity])[0]
        np.testing.assert_allclose(result, hsv2rgb(hsv, channel_axis=1), atol=1e-5)


def test_standard_brightness_adds_to_grey_images(grey):
    result = perturbed(BrightnessStandard(), grey, [5])[0]
    np.testing.assert_allclose(result, np.clip(grey.numpy() + 0.3, 0, 1), atol=1e-6)


def test_standard_contrast_shrinks_around_the_mean_of_each_channel(colour):
    x = colour.numpy()
    mean = x.mean(axis=(2, 3), keepdims=True)
    result = perturbed(ContrastStandard(), colour, [4])[0]
    np.testing.assert_allclose(result, np.clip(0.3 * (x - mean) + mean, 0, 1), atol=1e-5)


def test_noise_has_the_stated_deviation_and_one_draw_serves_all():
    grey = torch.full((20, 1, 32, 32), 0.5)
    small, large = perturbed(GaussianNoise(), grey, [0.04, 0.08]) - 0.5
    assert small.std().item() == pytest.approx(0.04, rel=0.02)
    torch.testing.assert_close(large, 2 * small, rtol=0, atol=1e-6)


@pytest.mark.parametrize("severity", [6, 1.5])
def test_a_severity_that_does_not_exist_is_refused(grey, severity):
    with pytest.raises(AttackError, match="not a severity of ContrastStandard; use whole numbers"):
        perturbed(ContrastStandard(), grey, [severity])


def photographs(height, width, channels=3):
    """Pieces of a real photograph: (n, C, H, W) of whole grey levels."""
    china = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)
    if channels == 1:
        china = china[:1]
    pieces = F.unfold(china[None].float(), (height, width), stride=(90, 90))
    return pieces[0].T.reshape(-1, channels, height, width).contiguous() / 255


def spot(height, width, row, column):
    """A white pixel on black: (1, 1, H, W)."""
    image = torch.zeros(1, 1, height, width)
    image[0, 0, row, column] = 1.0
    return image


def damage(attack, images):
    """Mean Euclidean length of the change at each severity."""
    change = perturbed(attack, images, SEVERITIES) - images
    return change.flatten(2).norm(dim=2).mean(dim=1)


def assert_damage_grows(attack, images):
    lengths = damage(attack, images)
    # CIFAR-10-C's motion blur has the same deviation at severities 3 and 4.
    ties = [2] if isinstance(attack, MotionBlur) else []
    for step, (less, more) in enumerate(pairwise(lengths)):
        assert less == more if step in ties else less < more, lengths
    assert lengths[0] > 0


@every_graded
@pytest.mark.parametrize(
    ("shape", "channels"), [((28, 28), 1), ((40, 56), 3), ((96, 64), 1), ((33, 32), 2)]
)
def test_damage_grows_with_severity_on_photographs_of_any_shape(attack, shape, channels):
    images = photographs(*shape)[:, :channels]
    assert_damage_grows(attack(), images)


def test_a_perturbation_that_does_nothing_does_no_growing_damage():
    class Nothing(Graded):
        def _search(self, queries, epsilon, shared):
            return queries.images

    with pytest.raises(AssertionError):
        assert_damage_grows(Nothing(levels=(0.1,) * 5), photographs(28, 28))


@every_graded
def test_severity_zero_is_the_image_itself(attack, colour):
    assert torch.equal(perturbed(attack(), colour, [0, 3])[0], colour)


@every_graded
def test_the_generator_decides_and_nothing_else(attack, colour):
    first = perturbed(attack(), colour, SEVERITIES, seed=1)
    torch.manual_seed(99)
    assert torch.equal(first, perturbed(attack(), colour, SEVERITIES, seed=1))
    other = perturbed(attack(), colour, SEVERITIES, seed=2)
    assert torch.equal(first, other) == (attack not in RANDOM)


@every_graded
def test_images_of_one_pixel_and_of_one_row_are_perturbed_without_complaint(attack):
    for shape in [(4, 1, 1, 1), (4, 3, 1, 9), (4, 2, 2, 2)]:
        images = torch.rand(shape, generator=generator(3))
        assert perturbed(attack(), images, SEVERITIES).isfinite().all()


def test_graded_noise_is_the_free_one_at_the_levels_of_the_benchmark(colour):
    graded = perturbed(GaussianNoiseStandard(), colour, SEVERITIES, seed=4)
    free = perturbed(GaussianNoise(), colour, [0.04, 0.06, 0.08, 0.09, 0.1], seed=4)
    assert torch.equal(graded, free)


def test_shot_noise_has_the_mean_and_the_variance_of_counted_photons():
    images = torch.full((8, 1, 64, 64), 0.3)
    images[4:] = 0.0
    for severity, photons in enumerate((500, 250, 100, 75, 50), start=1):
        result = perturbed(ShotNoise(), images, [severity])[0]
        torch.testing.assert_close(result * photons, (result * photons).round())
        assert result[:4].mean().item() == pytest.approx(0.3, abs=0.003)
        assert result[:4].var().item() == pytest.approx(0.3 / photons, rel=0.05)
        assert not result[4:].any()


def test_impulses_are_black_and_white_in_equal_shares_and_stay_as_severity_grows():
    images = torch.full((8, 3, 64, 64), 0.3)
    results = perturbed(ImpulseNoise(), images, SEVERITIES)
    for result, share in zip(results, (0.01, 0.02, 0.03, 0.05, 0.07), strict=True):
        for value in (0.0, 1.0):
            assert (result == value).float().mean().item() == pytest.approx(share / 2, rel=0.1)
        assert ((result == 0) | (result == 1) | (result == images)).all()
    for less, more in pairwise(results):
        hit = less != images
        assert torch.equal(less[hit], more[hit])
    single = (results[-1] != images).any(dim=1) & (results[-1] == images).any(dim=1)
    assert single.any()  # channels are hit independently


def benchmark_disk(radius, deviation):
    """The kernel of make_cifar_c.py, from its definition."""
    at = np.arange(-8, 9)
    disk = (at[:, None] ** 2 + at**2 <= radius**2).astype(float)
    bell = np.exp(-(np.array([-1, 0, 1]) ** 2) / (2 * deviation**2))
    return ndimage.convolve(disk / disk.sum(), np.outer(bell, bell) / bell.sum() ** 2)


@pytest.mark.parametrize("shape", [(32, 32), (20, 45)])
def test_defocus_is_the_benchmarks_kernel_on_images_up_to_its_size(shape):
    levels = [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)]
    images = photographs(*shape)[:3]
    for severity, level in enumerate(levels, start=1):
        expected = ndimage.correlate(
            images.double().numpy(), benchmark_disk(*level)[None, None], mode="mirror"
        )
        result = perturbed(DefocusBlur(), images, [severity])[0]
        np.testing.assert_allclose(result, expected, atol=1e-6)


def test_defocus_of_a_white_pixel_grows_with_the_image():
    small = perturbed(DefocusBlur(), spot(32, 32, 16, 16), [5])[0]
    large = perturbed(DefocusBlur(), spot(128, 128, 64, 64), [5])[0]
    assert (small > 0.01).sum() == 9  # the pixels within 1.5 of the centre
    # Within 6 of the centre there are 113; smoothing by 0.4 pixels adds faint ones around.
    assert (large > 0.5 / 113).sum() == pytest.approx(113, rel=0.1)
    assert large.sum().item() == pytest.approx(1.0, abs=1e-5)


def test_motion_blur_smears_along_one_ray_with_the_weights_of_half_a_gaussian():
    for severity, deviation in enumerate((1.0, 1.5, 2.0, 2.0, 2.5), start=1):
        image = spot(41, 41, 20, 20).repeat(50, 1, 1, 1)
        # The image is above 32 pixels, so that lengths grow.
        deviation *= 41 / 32
        results = perturbed(MotionBlur(), image, [severity], seed=severity)[0, :, 0]
        steps = np.arange(math.ceil(4 * deviation) + 1)
        weights = np.exp(-(steps**2) / (2 * deviation**2))
        weights /= weights.sum()
        for result in results:
            lit = result.nonzero()
            # A pixel sees what lies ahead: the trail of a white one runs to the left.
            assert (lit[:, 1] <= 20).all()
            assert ((lit[:, 0] - 20).abs() <= 20 - lit[:, 1]).all()  # within 45 degrees
            trail = result.sort(descending=True).values.amax(dim=0)
            assert trail.sum() <= 1.0 + 1e-5
            assert result.sum().item() == pytest.approx(1.0, abs=1e-5)
            assert result[20, 20].item() == pytest.approx(weights[0], abs=1e-5)


def test_motion_blur_has_the_benchmarks_directions():
    image = spot(32, 32, 16, 25)
    results = torch.cat([perturbed(MotionBlur(), image, [5], seed=s)[0] for s in range(200)])
    rows = torch.arange(32.0)
    drift = (results[:, 0].sum(dim=2) * (rows - 16)).sum(dim=1)
    left = (results[:, 0].sum(dim=1) * (25 - rows)).sum(dim=1)
    angle = torch.rad2deg(torch.atan2(drift, left))
    assert angle.abs().max() <= 45.1
    assert angle.min() < -38
    assert angle.max() > 38


def test_motion_blur_leaves_what_is_the_same_everywhere(colour):
    flat = torch.full_like(colour, 0.7)
    torch.testing.assert_close(perturbed(MotionBlur(), flat, [5])[0], flat)


def test_gamma_is_a_power(colour):
    for severity, exponent in enumerate((1.25, 1.5, 2.0, 2.5, 3.0), start=1):
        result = perturbed(Gamma(), colour, [severity])[0]
        np.testing.assert_allclose(result, colour.numpy() ** exponent, atol=1e-6)


def test_gamma_below_one_brightens(colour):
    result = perturbed(Gamma(levels=[0.5]), colour, [1])[0]
    torch.testing.assert_close(result, colour.sqrt())


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_jpeg_is_what_pillow_writes_and_reads(channels, mode):
    images = photographs(40, 56, channels)[:4]
    for severity, quality in enumerate((80, 65, 58, 50, 40), start=1):
        result = perturbed(JPEG(), images, [severity])[0]
        for image, coded in zip(images, result, strict=True):
            pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
            file = io.BytesIO()
            Image.fromarray(pixels.squeeze(), mode).save(file, "JPEG", quality=quality)
            expected = np.asarray(Image.open(file)).reshape(pixels.shape) / 255
            # The two may bring their own builds of libjpeg, which round differently.
            np.testing.assert_allclose(coded.permute(1, 2, 0), expected, atol=3 / 255)


def test_jpeg_codes_two_or_five_channels_one_by_one():
    images = photographs(24, 40)[:2]
    five = torch.cat([images, images[:, :2]], dim=1)
    result = perturbed(JPEG(), five, [3])[0]
    alone = [perturbed(JPEG(), five[:, c : c + 1], [3])[0] for c in range(5)]
    assert torch.equal(result, torch.cat(alone, dim=1))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
# With an odd size a centre may lie on a border, where Pillow's rounding of the border decides.
@pytest.mark.parametrize("shape", [(32, 32), (28, 44)])
def test_pixelate_is_pillows_box_filter_down_and_up(shape, channels, mode):
    height, width = shape
    images = photographs(*shape, channels)[:4]
    for severity, share in enumerate((0.95, 0.9, 0.85, 0.75, 0.65), start=1):
        result = perturbed(Pixelate(), images, [severity])[0]
        for image, coarse in zip(images, result, strict=True):
            pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
            small = Image.fromarray(pixels.squeeze(), mode).resize(
                (int(width * share), int(height * share)), Image.Resampling.BOX
            )
            blocks = np.asarray(small.resize((width, height), Image.Resampling.BOX))
            # Pillow rounds to 8 bits after each direction.
            np.testing.assert_allclose(
                coarse.permute(1, 2, 0), blocks.reshape(pixels.shape) / 255, atol=1.01 / 255
            )


def test_pixelate_by_half_is_the_mean_of_two_by_two():
    images = photographs(8, 12)[:3]
    means = F.avg_pool2d(images, 2)
    expected = means.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(perturbed(Pixelate(levels=[0.5]), images, [1])[0], expected)


def test_rotation_is_torchvisions_with_either_sign():
    from torchvision.transforms.v2.functional import InterpolationMode, rotate

    images = photographs(28, 45)
    signs = set()
    for severity, degrees in enumerate((5, 10, 15, 20, 30), start=1):
        result = perturbed(Rotation(), images, [severity])[0]
        turned = {
            sign: rotate(images, sign * degrees, interpolation=InterpolationMode.BILINEAR)
            for sign in (-1, 1)
        }
        for i, image in enumerate(result):
            off = {sign: (image - turned[sign][i]).abs().max().item() for sign in turned}
            signs.add(min(off, key=off.get))
            assert min(off.values()) < 1e-4
    assert signs == {-1, 1}


def test_a_quarter_turn_permutes_the_pixels():
    images = photographs(9, 9)[:8]
    result = perturbed(Rotation(levels=[90.0]), images, [1])[0]
    for image, turned in zip(images, result, strict=True):
        off = [(turned - image.rot90(k, (1, 2))).abs().max() for k in (1, -1)]
        assert min(off) < 1e-5


def test_the_way_an_image_turns_and_moves_is_the_same_at_all_severities():
    images = spot(64, 64, 32, 50).repeat(20, 1, 1, 1)
    for attack in (Rotation(), Translation()):
        results = perturbed(attack, images, SEVERITIES)
        places = results.flatten(2).argmax(dim=2)
        way = torch.stack([places // 64 - 32, places % 64 - 50], dim=2).double()
        way = way / way.norm(dim=2, keepdim=True)
        assert ((way * way[-1]).sum(dim=2) > 0.9).all()
        assert len(way[-1].round(decimals=3).unique(dim=0)) > 1


def test_translation_moves_every_pixel_by_the_same_whole_offset_and_lets_black_in():
    images = 0.1 + 0.9 * photographs(32, 40)[:30]
    for severity, distance in enumerate((1, 2, 3, 4, 6), start=1):
        result = perturbed(Translation(), images, [severity], seed=severity)[0]
        for image, moved in zip(images, result, strict=True):
            fits = [
                (down, right)
                for down in range(-distance, distance + 1)
                for right in range(-distance, distance + 1)
                if torch.equal(moved, shifted_with_black(image, down, right))
            ]
            assert len(fits) == 1
            # Rounding to whole pixels moves the end by at most half a diagonal.
            assert abs(math.hypot(*fits[0]) - distance) <= math.sqrt(0.5)


def shifted_with_black(image, down, right):
    height, width = image.shape[1:]
    result = torch.zeros_like(image)
    result[:, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = image[
        :, max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    return result


@pytest.mark.parametrize(
    ("attack", "levels"),
    [
        (ContrastStandard, ()),
        (ContrastStandard, (1.5,)),
        (JPEG, (0,)),
        (Gamma, (-1.0,)),
        (ShotNoise, (0.0,)),
        (DefocusBlur, (1.0,)),
        (Rotation, ((5.0, 10.0),)),
        (GaussianNoiseStandard, (float("nan"),)),
    ],
)
def test_an_impossible_level_is_refused(attack, levels):
    with pytest.raises(AttackError, match="attack setting 'levels'"):
        attack(levels=levels)


def test_levels_from_a_catalogue_make_the_same_value():
    assert DefocusBlur(levels=[[1.0, 0.2]]) == DefocusBlur(levels=((1.0, 0.2),))
    assert hash(DefocusBlur(levels=[[1.0, 0.2]])) == hash(DefocusBlur(levels=((1.0, 0.2),)))
