"""DICOM files: the values that a scanner meant, one picture each, and nothing of the header."""

import io
import json

import numpy as np
import pytest
from data_factory import catalogue, dicom, encoded, folder_of, png
from PIL import Image
from pydicom import Dataset, dcmread, uid

from assay.data.dataset import load
from assay.data.decode import Decoding, decode, decode_image
from assay.data.prepare import prepare
from assay.data.window import Window
from assay.foundation.errors import ConfigError, DataError
from assay.foundation.outcomes import SCHEMA

GREY = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
CT = np.linspace(-1000, 1000, 64).reshape(8, 8).astype(np.int16)
BRAIN = Window.of({"level": 40, "width": 400}, "window")
ALL = Window.of({"percentiles": [0, 100]}, "window")


def shown(data, window=None, channels=1):
    pixels = decode_image(data, channels=channels, size=None, where="1.dcm", window=window)
    return pixels[0] if channels == 1 else pixels


def test_eight_bits_are_taken_as_they_are():
    assert (shown(dicom(GREY)) == GREY).all()


def test_small_values_of_monochrome1_are_bright():
    bright = {"PhotometricInterpretation": "MONOCHROME1"}
    assert (shown(dicom(GREY, **bright)) == 255 - GREY).all()
    assert (shown(dicom(CT, **bright), BRAIN) == 255 - shown(dicom(CT), BRAIN)).all()


def test_a_window_is_in_the_units_of_slope_and_intercept():
    stored = ((CT + 1024) // 2).astype(np.uint16)
    data = dicom(stored, RescaleSlope=2, RescaleIntercept=-1024)
    values = stored.astype(float) * 2 - 1024
    expected = np.rint(255 * ((values + 160) / 400).clip(0, 1))
    assert (shown(data, BRAIN) == expected).all()
    assert 0 < (expected == 0).mean() < 1  # below the window
    assert (expected == 255).any()


def test_a_slope_without_an_intercept_counts():
    data = dicom(np.abs(CT).astype(np.uint16), RescaleSlope=0.1)
    narrow = Window.of({"level": 50, "width": 100}, "window")
    assert shown(data, narrow)[0, 0] == 255
    assert (shown(data, narrow) < 255).mean() > 0.9


def test_a_modality_table_is_applied():
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [256, 0, 16], "US"
    table.LUTData = (1000 + 3 * np.arange(256, dtype=np.uint16)).tobytes()
    data = dicom(GREY, ModalityLUTSequence=[table])
    window = Window.of({"level": 1000 + 3 * 128, "width": 3 * 256}, "window")
    assert np.abs(shown(data, window).astype(int) - GREY).max() <= 1
    with pytest.raises(DataError, match=r"rescaled values; set 'settings\.window'"):
        shown(data)


def test_padding_is_black_and_no_percentile_counts_it():
    values = np.full((8, 8), 1000, np.int16)
    values[0], values[1, 0], values[1, 1] = -2000, 0, 2000
    whole = shown(dicom(values), ALL)
    padded = shown(dicom(values, PixelPaddingValue=-2000), ALL)
    assert whole[7, 7] == 191
    assert padded[7, 7] == 128
    assert (padded[0] == 0).all()
    inverted = {"PhotometricInterpretation": "MONOCHROME1"}
    assert (shown(dicom(values, PixelPaddingValue=-2000, **inverted), ALL)[0] == 0).all()


def test_unused_high_bits_are_no_values():
    stored = np.arange(64, dtype=np.uint16).reshape(8, 8) * 64
    clean = dicom(stored, BitsStored=12, HighBit=11)
    overlaid = dicom(stored | 0xF000, BitsStored=12, HighBit=11)
    assert (shown(clean, ALL) == shown(overlaid, ALL)).all()


def test_colours_are_read_from_rgb_ybr_and_palettes():
    rgb = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert (shown(dicom(rgb), channels=3) == rgb.transpose(2, 0, 1)).all()
    smooth = Image.fromarray(np.repeat(GREY[..., None], 3, -1)).resize((16, 16))
    ybr = np.asarray(smooth.convert("YCbCr"))
    data = dicom(ybr, PhotometricInterpretation="YBR_FULL")
    assert np.abs(shown(data, channels=3)[0].astype(int) - np.asarray(smooth)[..., 0]).max() <= 2
    palette = {"PhotometricInterpretation": "PALETTE COLOR"}
    for number, name in enumerate(("Red", "Green", "Blue")):
        palette[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        entries = (np.arange(256, dtype=np.uint16) // (number + 1)) * 257
        palette[f"{name}PaletteColorLookupTableData"] = entries.tobytes()
    got = shown(dicom(GREY, **palette), channels=3)
    assert (got == np.stack([GREY, GREY // 2, GREY // 3])).all()


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({}, r"1\.dcm: has 16 bits or rescaled values; set 'settings\.window'"),
        ({"NumberOfFrames": 3}, "1.dcm: holds 3 frames; export it as PNG"),
        ({"SharedFunctionalGroupsSequence": [Dataset()]}, "enhanced DICOM object"),
        ({"Rows": 9000, "Columns": 9000}, "has 9000×9000 pixels, more than the limit"),
        ({"PhotometricInterpretation": "HSV"}, "is of the kind HSV with 16 bits"),
        ({"Rows": 7000}, r"is not a readable DICOM image \(ValueError\); export it again"),
    ],
)
def test_what_is_not_one_plain_picture_is_named(header, message):
    with pytest.raises(DataError, match=message) as caught:
        shown(dicom(CT, **header))
    assert "Doe" not in str(caught.value)


def test_a_report_among_the_images_and_a_file_that_is_cut_short_are_named():
    whole = dicom(CT)
    with pytest.raises(DataError, match="is not a readable DICOM image"):
        shown(whole[:-40], ALL)
    place = whole.index(b"\xe0\x7f\x10\x00")
    with pytest.raises(DataError, match="is DICOM without a picture; remove the file"):
        shown(whole[:place], ALL)


def test_compressed_pictures_are_read_where_a_decoder_is_there():
    deep = GREY.astype(np.uint16) * 100
    for pixels in (GREY, deep):
        data = encoded(Image.fromarray(pixels), "JPEG2000", no_jp2=True)
        packed = dicom(pixels, syntax=uid.JPEG2000Lossless, data=data)
        assert (shown(packed, ALL) == shown(dicom(pixels), ALL)).all()
    run_lengths = dcmread(io.BytesIO(dicom(deep)))
    run_lengths.compress(uid.RLELossless)
    out = io.BytesIO()
    run_lengths.save_as(out)
    assert (shown(out.getvalue(), ALL) == shown(dicom(deep), ALL)).all()
    smooth = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    data = encoded(Image.fromarray(smooth), "JPEG", quality=95)
    lossy = shown(dicom(smooth, syntax=uid.JPEGBaseline8Bit, data=data))
    assert np.abs(lossy.astype(int) - smooth).max() <= 3


def test_a_missing_decoder_is_named_with_its_package(monkeypatch):
    from pydicom.pixels import get_decoder

    decoder = get_decoder(uid.JPEGLSLossless)
    monkeypatch.setattr(decoder, "_available", {})
    data = dicom(GREY, syntax=uid.JPEGLSLossless, data=b"\xff\xd8\xff\xf7")
    with pytest.raises(DataError, match=r"compressed as JPEG-LS .*; install numpy and pyjpegls"):
        shown(data)
    data = dicom(GREY, syntax=uid.MPEG2MPML, data=b"video")
    with pytest.raises(DataError, match=r"compressed as MPEG2 .*, which is not read"):
        shown(data)


def folder_entry(root, **settings):
    entry = catalogue()["image_folder"]
    return {**entry, "settings": {**entry["settings"], "folder": str(root), **settings}}


@pytest.fixture
def export(tmp_path):
    """A PACS export: no suffixes, an index, and the patient's name in the paths."""
    files = {"ill/DICOMDIR": dicom(GREY), "DICOMDIR": dicom(GREY)}
    for label, name in enumerate(("ill", "well")):
        for number in range(4):
            person = f"{label}{number // 2}"
            files[f"{name}/Doe^Jane{person}/IM{number:04d}"] = dicom(
                GREY + np.uint8(10 * label + number), PatientID=f" H-{person} "
            )
    return folder_of(tmp_path / "export", files)


def test_an_export_is_read_without_suffixes_and_grouped_by_patient(export, tmp_path):
    entry = folder_entry(export, patient_tag="PatientID")
    prepare("mine", entry, tmp_path / "out", mirror=None, cache=tmp_path, seed=0)
    data = load(tmp_path / "out")
    assert data.samples["patient"].tolist() == ["0", "0", "1", "1", "2", "2", "3", "3"]
    assert data.samples["file"].tolist()[:2] == ["ill/000000", "ill/000001"]
    assert (data.images[0, 0] == GREY).all()
    assert data.metadata["skipped"] == [{"why": "hidden or of the system", "number": 2}]


def test_nothing_of_a_header_or_a_path_is_kept(export, tmp_path):
    entry = folder_entry(export, patient_tag="PatientID")
    prepare("mine", entry, tmp_path / "out", mirror=None, cache=tmp_path, seed=0)
    for path in (tmp_path / "out").iterdir():
        content = path.read_bytes()
        assert not any(word in content for word in (b"Doe", b"Jane", b"H-0", b"H-1", b"IM00")), path


def test_what_is_published_has_no_column_for_files_or_patients():
    # Outcomes are what a report keeps; images are numbers there.
    assert not {"file", "path", "patient", "patient_safe"} & set(SCHEMA.names)


def test_a_patient_that_a_file_does_not_name_is_an_error(export, tmp_path):
    (export / "ill/1.png").write_bytes(png(0))
    (export / "well/unknown").write_bytes(dicom(GREY, PatientID=""))
    entry = folder_entry(export, patient_tag="PatientID")
    with pytest.raises(DataError, match=r"2 of 10 files .*is not DICOM.*has no PatientID"):
        prepare("mine", entry, tmp_path / "out", mirror=None, cache=tmp_path, seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patient_tag": "PatientNumber"}, "'PatientNumber' is no keyword.*give PatientID"),
        ({"patient_tag": 5}, "'settings.patient_tag': 5 is no keyword"),
        ({"patient_tag": "PatientID", "patients": "p.csv"}, "not from both"),
    ],
)
def test_a_wrong_tag_is_told(export, tmp_path, settings, message):
    entry = folder_entry(export, **settings)
    with pytest.raises(ConfigError, match=message):
        prepare("mine", entry, tmp_path / "out", mirror=None, cache=tmp_path, seed=0)


def test_images_that_did_not_go_through_the_window_are_told(tmp_path, caplog):
    files = {"ill/1.dcm": dicom(CT), "ill/2.png": png(0), "well/1.dcm": dicom(CT)}
    files["well/2.dcm"] = dicom(CT + np.int16(5000))
    entry = folder_entry(folder_of(tmp_path / "mixed", files), window={"level": 0, "width": 2000})
    prepare("mine", entry, tmp_path / "out", mirror=None, cache=tmp_path, seed=0)
    assert "1 of 4 images have 8 bits and did not go through the window" in caplog.text
    assert "1 of 4 images are one grey level after the window" in caplog.text
    facts = json.loads((tmp_path / "out/dataset.json").read_text())
    assert facts["converted"] == {"not_windowed": 1, "flat": 1}
    assert facts["settings"]["window"] == {"level": 0, "width": 2000}


def test_the_id_is_read_only_when_it_is_asked_for():
    assert decode(dicom(GREY), Decoding(1), "1.dcm").patient is None
    assert decode(dicom(GREY), Decoding(1, patient_tag="PatientID"), "1").patient == "H-4711"
