"""Decoding one picture: nothing of it is lost without a word."""

import io
import struct
import zlib

import numpy as np
import pytest
from data_factory import encoded, png
from PIL import Image, TiffImagePlugin

from assay.data.decode import decode_image
from assay.data.window import Window
from assay.foundation.errors import ConfigError, DataError

DEEP = (np.arange(64).reshape(8, 8) * 1000).astype(np.uint16)
ALL = Window(0, 100, percentiles=True)
FULL = Window.of({"level": 32767.5, "width": 65535}, "window")


def grey(data, **how):
    return decode_image(data, channels=1, size=None, where="1.png", **how)[0]


def colour(data, **how):
    return decode_image(data, channels=3, size=None, where="1.png", **how)


def tiff(pixels, **tags):
    """A grey TIFF with tags that Pillow would not write."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        info[{"photometric": 262, "sample_format": 339}[name]] = value
    return encoded(Image.fromarray(pixels), "TIFF", tiffinfo=info)


def png_of_16_bits(kind, channels, pixels):
    """A PNG with 16 bits per channel, which Pillow does not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(
            ">I", zlib.crc32(name + data)
        )  # fmt: skip

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, kind, 0, 0, 0)
    assert pixels.shape[2:] == ((channels,) if channels > 1 else ())
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    )


# --- depth ---


@pytest.mark.parametrize(
    ("kind", "channels"), [(2, 3), (6, 4), (4, 2)], ids=["RGB", "RGBA", "grey with alpha"]
)
def test_sixteen_bits_in_several_channels_are_refused_with_or_without_a_window(kind, channels):
    pixels = np.random.default_rng(0).integers(0, 4096, (8, 8, channels))
    data = png_of_16_bits(kind, channels, pixels)
    for window in (None, ALL):
        with pytest.raises(DataError, match="more than 8 bits per channel and several channels"):
            colour(data, window=window)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_colour_tiff_of_16_bits_is_refused(order):
    # Pillow writes none: one strip of 2 × 1 RGB pixels, by hand.
    pixels = np.arange(6, dtype=f"{order}u2").tobytes()
    tags = {256: (3, 1, 2), 257: (3, 1, 1), 258: (3, 3, 8), 259: (3, 1, 1), 262: (3, 1, 2),
            273: (4, 1, 14), 277: (3, 1, 3), 278: (3, 1, 1), 279: (4, 1, 12)}  # fmt: skip
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 26)
    out += struct.pack(f"{order}HHH", 16, 16, 16) + pixels + struct.pack(f"{order}H", len(tags))
    for tag, (kind, count, value) in tags.items():
        short = kind == 3 and count == 1
        out += struct.pack(f"{order}HHI", tag, kind, count)
        out += struct.pack(
            f"{order}HH" if short else f"{order}I", *((value, 0) if short else (value,))
        )
    with pytest.raises(DataError, match="several channels"):
        colour(out + bytes(4), window=ALL)


def test_a_colour_ppm_of_16_bits_is_refused_and_a_grey_one_keeps_its_values():
    with pytest.raises(DataError, match="several channels"):
        colour(b"P6 2 1 4095\n" + np.arange(6, dtype=">u2").tobytes())
    values = np.array([0, 1000, 2000, 4095], dtype=">u2")
    window = Window.of({"level": 1000, "width": 2000}, "window")
    got = grey(b"P5 4 1 4095\n" + values.tobytes(), window=window)
    assert got.tolist() == [[0, 128, 255, 255]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_deep_grey_goes_through_the_window(kind):
    data = encoded(Image.fromarray(DEEP), kind)
    with pytest.raises(DataError, match=r"has more than 8 bits .*set 'settings\.window'"):
        grey(data)
    assert (grey(data, window=FULL) == np.rint(DEEP / 65535 * 255)).all()
    assert (grey(data, window=ALL) == np.rint(DEEP / 63000 * 255)).all()


def test_a_tiff_whose_white_is_zero_is_turned():
    assert (grey(tiff(DEEP, photometric=0), window=FULL) == np.rint(255 - DEEP / 65535 * 255)).all()


@pytest.mark.parametrize(
    "pixels",
    [
        np.linspace(-1000, 1000, 64).reshape(8, 8).astype(np.int16),
        np.linspace(-1e9, 1e9, 64).reshape(8, 8).astype(np.int32),
        np.linspace(-0.5, 0.5, 64).reshape(8, 8).astype(np.float32),
    ],
    ids=lambda pixels: str(pixels.dtype),
)
def test_signed_and_fractional_tiffs_keep_their_order(pixels):
    data = encoded(Image.fromarray(pixels), "TIFF")
    with pytest.raises(DataError, match="signed values"):
        grey(data)
    assert np.abs(grey(data, window=ALL).ravel() - np.linspace(0, 255, 64)).max() <= 0.6


def test_signed_bytes_and_unsigned_words_of_a_tiff_are_what_they_are():
    signed = np.array([[-128, -1, 0, 127]], np.int8)
    data = tiff(signed.view(np.uint8), sample_format=2)
    with pytest.raises(DataError, match="signed values"):
        grey(data)
    assert grey(data, window=ALL).tolist() == [[0, 127, 128, 255]]
    large = np.array([[0, 2**31, 2**32 - 1]], np.uint32)
    data = encoded(Image.fromarray(large.view(np.int32)), "TIFF")
    signed_tag = struct.pack("<HHIH", 339, 3, 1, 2)
    assert data.count(signed_tag) == 1
    data = data.replace(signed_tag, struct.pack("<HHIH", 339, 3, 1, 1))
    assert grey(data, window=ALL).tolist() == [[0, 128, 255]]


def test_pixels_that_are_no_numbers_are_told():
    pixels = np.full((8, 8), np.nan, np.float32)
    with pytest.raises(DataError, match="pixels that are not numbers"):
        grey(encoded(Image.fromarray(pixels), "TIFF"), window=ALL)


def test_a_flat_image_has_no_percentiles_and_is_black():
    data = encoded(Image.fromarray(np.full((8, 8), 7, np.uint16)))
    assert (grey(data, window=ALL) == 0).all()


def test_one_bit_is_black_and_white():
    data = encoded(Image.fromarray(np.eye(8, dtype=bool)))
    assert (grey(data) == 255 * np.eye(8)).all()


@pytest.mark.parametrize(
    "setting",
    [
        40, [40, 400], {}, {"level": 40}, {"level": 40, "width": 0}, {"level": "40", "width": 400},
        {"level": 40, "width": float("nan")}, {"percentiles": [99, 1]}, {"percentiles": [0, 101]},
        {"percentiles": 99}, {"percentiles": [1, 99], "level": 3}, {"level": True, "width": 2},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_window_is_told(setting):
    with pytest.raises(ConfigError, match=r"key: .* is no window; give \{level: 40, width: 400\}"):
        Window.of(setting, "key")


# --- transparency ---

SHAPE = np.zeros((8, 8), np.uint8)
SHAPE[2:6, 2:6] = 255


def transparent(mode):
    if mode == "P":
        image = Image.fromarray((SHAPE > 0).astype(np.uint8)).convert("P")
        image.putpalette([0] * 768)
        return encoded(image, transparency=0)
    if mode == "L":
        return encoded(Image.fromarray(SHAPE), transparency=0)
    full = np.zeros((8, 8, len(mode)), np.uint8)
    full[..., -1] = SHAPE
    return encoded(Image.fromarray(full))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_transparency_is_refused_or_laid_on_the_background(mode):
    with pytest.raises(DataError, match=r"is partly transparent; set 'settings\.background'"):
        grey(transparent(mode))
    inside = 255 if mode == "L" else 0
    got = grey(transparent(mode), background=(200, 200, 200))
    assert (got == np.where(SHAPE > 0, inside, 200)).all()
    red = colour(transparent(mode), background=(255, 0, 0))
    assert (red[:, 0, 0] == (255, 0, 0)).all()


def test_an_alpha_channel_that_hides_nothing_is_no_loss():
    image = Image.open(io.BytesIO(png(0, mode="RGB")))
    opaque = encoded(image.convert("RGBA"))
    assert (colour(opaque) == np.asarray(image).transpose(2, 0, 1)).all()


# --- several pictures, orientation, colour models ---


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "WEBP"])
def test_several_pictures_in_a_file_are_refused_with_their_number(kind):
    pages = [Image.new("L", (8, 8), level) for level in (10, 120, 240)]
    data = encoded(pages[0], kind, save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match=r"1\.png: holds 3 pictures \(pages or frames\); save"):
        grey(data)
    assert grey(encoded(pages[0], kind)).shape == (8, 8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_orientation_is_honoured(kind):
    pixels = np.zeros((8, 16), np.uint8)
    pixels[:, :8] = 255  # bright on the left; turned clockwise: bright on top
    exif = Image.Exif()
    exif[0x0112] = 6
    got = grey(encoded(Image.fromarray(pixels), kind, exif=exif))
    assert got.shape == (16, 8)
    assert got[:7].min() > 200
    assert got[9:].max() < 60


def test_deep_images_are_turned_too():
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = encoded(Image.fromarray(DEEP), exif=exif)
    assert (
        grey(turned, window=FULL) == grey(encoded(Image.fromarray(DEEP)), window=FULL)[::-1, ::-1]
    ).all()


def test_damaged_exif_data_do_not_condemn_an_image():
    data = encoded(Image.new("L", (8, 8), 100), "JPEG", exif=b"Exif\0\0nonsense, no TIFF")
    assert grey(data).shape == (8, 8)


def test_inks_become_colours():
    data = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")
    red = colour(data)[:, 4, 4]
    assert red[0] > 200
    assert red[1:].max() < 60


def test_a_format_is_told_by_its_content_whatever_its_name():
    for head, name in ((b"\0\0\0\x18ftypheic", "HEIC"), (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000")):
        with pytest.raises(DataError, match=rf"1\.png: is {name}, which is not read; export it"):
            grey(head + bytes(40))
    with pytest.raises(DataError, match="its content is none of BMP, GIF, JPEG"):
        grey(b"<html>not found</html>")
