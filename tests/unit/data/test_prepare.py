"""A catalogue entry becomes a whole folder or nothing."""

import copy
import errno
import gzip
import hashlib
import io
import json
import pickle
import tarfile

import numpy as np
import pytest
from data_factory import PETS, archive_entry, catalogue, png, serve, sha256, zip_of
from PIL import Image

from assay.data.dataset import load
from assay.data.fetch import content_digest
from assay.data.prepare import prepare
from assay.foundation.errors import AssayError, ConfigError, DataError, DownloadError


def make(name, entry, tmp_path, *, mirror=None, seed=0, target="out"):
    prepare(name, entry, tmp_path / target, mirror=mirror, cache=tmp_path / "cache", seed=seed)
    return load(tmp_path / target)


def pets(tmp_path, entries=PETS, **settings):
    mirror = tmp_path / "mirror"
    mirror.mkdir(exist_ok=True)
    data = zip_of(entries)
    (mirror / "pets.zip").write_bytes(data)
    return archive_entry(sha256(data), **settings), mirror


@pytest.fixture
def folder(tmp_path):
    """A user's images: two classes, three images each."""
    root = tmp_path / "images"
    for label, name in enumerate(("ill", "well")):
        (root / name).mkdir(parents=True)
        for number in range(3):
            (root / name / f"{number}.png").write_bytes(png(10 * label + number))
    return root


def folder_entry(root, **settings):
    entry = catalogue()["image_folder"]
    return {**entry, "settings": {**entry["settings"], "folder": str(root), **settings}}


def test_an_archive_is_read_by_pattern_with_labels_parts_patients_and_duplicates(tmp_path):
    entry, mirror = pets(tmp_path)
    data = make("pets", entry, tmp_path, mirror=mirror)
    assert data.samples["file"].tolist() == [
        "test/dog/rex1.png", "train/cat/tom1.png", "train/cat/tom2.png", "train/dog/rex2.png",
    ]  # fmt: skip
    assert data.labels.tolist() == [1, 0, 0, 1]
    assert data.samples["official"].tolist() == ["test", "train", "train", "train"]
    assert data.samples["patient"].tolist() == ["dog/rex", "cat/tom", "cat/tom", "dog/rex"]
    assert data.samples["duplicate"].tolist() == [0, 1, 2, 0]
    assert list(data.samples) == [
        "sample", "file", "label", "duplicate", "patient", "patient_safe", "official",
    ]  # fmt: skip
    assert data.samples["patient_safe"].isna().all()
    with Image.open(io.BytesIO(PETS["x/train/cat/tom1.png"])) as tom:
        assert (data.images[1, 0] == np.asarray(tom)).all()
    assert data.metadata["counts"]["identical_files"] == {"groups": 1, "images": 2}
    assert data.metadata["read"] == [
        {"file": "pets.zip", "origin": "mirror", "digest": sha256(zip_of(PETS)), "copy": "a test"}
    ]


def test_a_safe_reading_of_patients_is_stored_beside_the_fine_one_and_is_part_of_the_digest(
    tmp_path,
):
    entry, mirror = pets(tmp_path)
    plain = make("pets", entry, tmp_path, mirror=mirror)
    entry["patient"]["safe"] = {"id": "{class}", "title": "by kind alone"}
    data = make("pets", entry, tmp_path, mirror=mirror)
    assert data.samples["patient"].tolist() == ["dog/rex", "cat/tom", "cat/tom", "dog/rex"]
    assert data.samples["patient_safe"].tolist() == ["dog", "cat", "cat", "dog"]
    assert data.digest != plain.digest
    assert data.metadata["patient"]["safe"]["title"] == "by kind alone"


def test_images_are_mapped_read_only(tmp_path):
    data = make("digits", catalogue()["digits"], tmp_path)
    assert isinstance(data.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        data.images[0] = 0


def test_an_archive_packed_anew_is_known_by_its_content(tmp_path):
    other = zip_of({name.replace("x/", "repo-123/"): data for name, data in reversed(PETS.items())})
    with serve({"pets.zip": other}) as server:
        entry, mirror = pets(tmp_path)
        first = make("pets", entry, tmp_path, mirror=mirror)
        digest = content_digest(
            (name.removeprefix("x/"), data) for name, data in PETS.items() if ".png" in name
        )
        again = archive_entry(f"content:{digest}", (server.url("pets.zip"),))
        second = make("pets", again, tmp_path, target="second")
        assert second.digest == first.digest
        server.files["pets.zip"] = other[:-30]
        (tmp_path / "cache/pets.zip").unlink()
        with pytest.raises(DownloadError, match="sent a different file than content:"):
            make("pets", again, tmp_path, target="third")
    assert not (tmp_path / "third").exists()
    assert not (tmp_path / "cache/pets.zip").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x/train/cow/a1.png": png(9)}, "is of class 'cow'"),
        ({"x/train/cat/bad1.png": png(9)[:60]}, "bad1.png: is not a readable image"),
        ({"x/train/cat/big1.png": png(9, (9, 8))}, "big1.png: is 9×8 pixels where 8×8"),
        ({"../out.png": b""}, "points outside"),
    ],
)
def test_a_bad_entry_is_named_and_leaves_nothing(tmp_path, change, message):
    entry, mirror = pets(tmp_path, {**PETS, **change})
    with pytest.raises(DataError, match=message) as caught:
        make("pets", entry, tmp_path, mirror=mirror)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mirror"]


def test_what_macos_adds_to_an_archive_is_none_of_its_images(tmp_path, caplog):
    twins = {f"__MACOSX/{name.replace('/tom', '/._tom')}": b"\0\5\x16\7" for name in PETS}
    entry, mirror = pets(tmp_path, {**PETS, **twins, "x/train/cat/.hidden/tom3.png": png(5)})
    data = make("pets", entry, tmp_path, mirror=mirror)
    assert len(data) == 4
    assert data.metadata["skipped"] == [
        {"why": "not of the pattern", "number": 1, "example": "x/README.txt"},
        {"why": "hidden or of the system", "number": 6, "example": "__MACOSX/x/test/dog/rex1.png"},
    ]
    assert "left out are 1 not of the pattern ('x/README.txt'), 6 hidden" in caplog.text


def test_the_content_of_an_archive_is_the_same_with_and_without_what_macos_adds(tmp_path):
    digest = content_digest(
        (name.removeprefix("x/"), data) for name, data in PETS.items() if ".png" in name
    )
    pets(tmp_path, {**PETS, "__MACOSX/x/train/cat/._tom1.png": b"\0\5\x16\7"})
    entry = archive_entry(f"content:{digest}")
    assert len(make("pets", entry, tmp_path, mirror=tmp_path / "mirror")) == 4


def test_patients_of_paths_are_compared_in_one_form(tmp_path):
    names = ["Zoe\u0308 ", "Zo\u00eb", "Ｚoë", "zoë"]
    entries = {f"train/cat/{name}-{n}.png": png(n) for n, name in enumerate(names)}
    entries["train/dog/rex-1.png"] = png(9)
    pattern = r"train/(?P<class>\w+)/(?P<who>[^/]+)-\d\.png"
    entry, mirror = pets(tmp_path, entries, pattern=pattern)
    samples = make("pets", entry, tmp_path, mirror=mirror).samples
    assert samples["patient"].nunique() == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pattern": "(cat"}, r"'settings\.pattern': is no regular expression"),
        ({"pattern": r"(?P<who>\w+)\.png"}, "has no group 'class', which the label needs"),
        ({"pattern": r"(?P<class>\w+)/.*"}, r"has no group 'who', which '\{class\}/\{who\}' needs"),
        ({"size": "8"}, r"'settings\.size': '8' is no size"),
        ({"smallest": "8"}, r"'settings\.smallest': '8' is no number of pixels"),
        ({"window": {"level": 1}}, r"'settings\.window': .* is no window"),
    ],
)
def test_an_impossible_setting_of_an_archive_is_told_by_its_key(tmp_path, settings, message):
    entry, mirror = pets(tmp_path, **settings)
    with pytest.raises(ConfigError, match=message):
        make("pets", entry, tmp_path, mirror=mirror)


@pytest.mark.parametrize("key", ["classes", "shape", "files"])
def test_an_archive_without_classes_shape_or_file_is_told(tmp_path, key):
    entry, mirror = pets(tmp_path)
    entry[key] = None
    with pytest.raises(ConfigError, match="needs 'classes', 'shape' and one file in 'files'"):
        make("pets", entry, tmp_path, mirror=mirror)


def test_an_entry_without_a_patient_is_told_where_others_have_one(tmp_path):
    pattern = r"(?P<split>train|test)/(?P<class>\w+)/(?P<who>rex)?[a-z]*\d*\.png"
    entry, mirror = pets(tmp_path, pattern=pattern)
    with pytest.raises(
        DataError, match=r"tom1\.png' has no patient: a group of '\{class\}/\{who\}' is empty"
    ):
        make("pets", entry, tmp_path, mirror=mirror)


def test_images_of_other_sizes_are_resized_when_a_size_is_set(tmp_path):
    entries = {**PETS, "x/train/cat/big1.png": png(9, (30, 20), "RGB")}
    entry, mirror = pets(tmp_path, entries, size=[8, 8])
    assert make("pets", entry, tmp_path, mirror=mirror).images.shape == (5, 1, 8, 8)


def test_images_below_the_smallest_side_are_left_out_and_counted(tmp_path):
    entries = {
        **PETS,
        "x/train/cat/big1.png": png(9, (30, 20)),
        "x/train/dog/long1.png": png(8, (40, 7)),
    }
    entry, mirror = pets(tmp_path, entries, size=[8, 8], smallest=8)
    data = make("pets", entry, tmp_path, mirror=mirror)
    assert len(data.images) == 5
    assert not data.samples["file"].str.contains("long1").any()
    assert data.metadata["dropped_as_too_small"] == 1
    entry["settings"]["smallest"] = 100
    with pytest.raises(DataError, match=r"no image of at least 100 pixels a side.*smallest"):
        make("pets", entry, tmp_path, mirror=mirror, target="other")


def test_a_failed_preparation_leaves_the_earlier_folder_as_it_was(tmp_path):
    entry, mirror = pets(tmp_path)
    before = make("pets", entry, tmp_path, mirror=mirror).digest
    (mirror / "pets.zip").write_bytes(b"spoilt")
    with pytest.raises(DownloadError):
        make("pets", entry, tmp_path, mirror=mirror)
    assert load(tmp_path / "out").digest == before


def test_a_full_disk_is_told_in_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("assay.data.collected.os.posix_fallocate", full)
    with pytest.raises(AssayError, match="no space left on the disk"):
        make("digits", catalogue()["digits"], tmp_path)
    assert not (tmp_path / "out").exists()


def test_the_same_entry_gives_the_same_digest_and_another_seed_another_phantom(tmp_path):
    entry = small_phantom()
    one = make("phantom", entry, tmp_path, target="a", seed=1)
    same = make("phantom", entry, tmp_path, target="b", seed=1)
    other = make("phantom", entry, tmp_path, target="c", seed=2)
    assert one.digest == same.digest != other.digest
    assert (one.images == same.images).all()


def test_an_unknown_kind_and_a_wrong_shape_are_told(tmp_path):
    entry = catalogue()["digits"]
    with pytest.raises(ConfigError, match="no kind of data set 'magic'; choose one of"):
        make("x", {**entry, "kind": "magic"}, tmp_path)
    with pytest.raises(DataError, match="'classes'"):
        make("x", {**entry, "classes": [*entry["classes"], "10"]}, tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loader": "load_digits", "scael": 16}, "unknown setting 'scael'; kind 'sklearn' has the"),
        ({"loader": "load_digits"}, "no setting 'scale'"),
    ],
)
def test_a_misspelt_or_missing_setting_is_told(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=rf"'x\.settings': {message}"):
        make("x", {**catalogue()["digits"], "settings": settings}, tmp_path)


@pytest.mark.parametrize("name", ["images.npy", "samples.parquet", "dataset.json"])
def test_a_damaged_folder_is_told_with_the_remedy(tmp_path, name):
    make("digits", catalogue()["digits"], tmp_path)
    path = tmp_path / "out" / name
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=r"out: .*; remove the folder and run"):
        load(tmp_path / "out")


def test_metadata_names_no_folder_of_the_machine(tmp_path):
    entry, mirror = pets(tmp_path)
    make("pets", entry, tmp_path, mirror=mirror)
    assert str(tmp_path) not in json.dumps(json.loads((tmp_path / "out/dataset.json").read_text()))


# --- embedded data ---


def small_phantom(**settings):
    entry = catalogue()["phantom"]
    small = {"patients_per_class": 5, "images_per_patient": 2, "copies": 3}
    return {**entry, "settings": {**entry["settings"], **small, **settings}}


def test_digits_are_the_images_of_scikit_learn(tmp_path):
    from sklearn.datasets import load_digits

    data, source = make("digits", catalogue()["digits"], tmp_path), load_digits()
    assert data.images.shape == (1797, 1, 8, 8)
    assert (data.labels == source.target).all()
    assert np.abs(data.images[:, 0] / 255 - source.images / 16).max() <= 0.5 / 255 + 1e-9


def test_digits_are_enlarged_to_the_shape_of_their_entry(tmp_path):
    small = make("digits", catalogue()["digits"], tmp_path, target="small")
    large = make("digits_28", catalogue()["digits_28"], tmp_path, target="large")
    assert large.images.shape == (1797, 1, 28, 28)
    assert (large.labels == small.labels).all()
    # Bilinear: nothing brighter than the brightest, and the means of cells are about the pixels.
    assert (large.images.max(axis=(1, 2, 3)) <= small.images.max(axis=(1, 2, 3))).all()
    cells = large.images[:, :, 2:26, 2:26].mean(axis=(1, 2, 3)) / 255
    pixels = small.images[:, :, 1:7, 1:7].mean(axis=(1, 2, 3)) / 255
    assert np.corrcoef(cells, pixels)[0, 1] > 0.9


def test_house_numbers_are_read_as_torchvision_reads_them(tmp_path, monkeypatch):
    import scipy.io
    import torchvision

    rng = np.random.default_rng(0)
    entry, known = copy.deepcopy(catalogue()["svhn"]), {}
    written = {}
    for file, (subset, n) in zip(entry["files"], (("train", 12), ("test", 5)), strict=True):
        # MATLAB's order is (H, W, C, N), and the digit 0 is class 10.
        pixels = rng.integers(0, 256, (32, 32, 3, n), dtype=np.uint8)
        labels = np.arange(1, n + 1)[:, None] % 10
        written[subset] = pixels.transpose(3, 2, 0, 1), labels[:, 0]
        path = tmp_path / "mirror" / file["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(path, {"X": pixels, "y": np.where(labels == 0, 10, labels)})
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        file["copies"] = [{"digest": f"md5:{md5}", "urls": [], "what": "a substitute"}]
        known[subset] = ["", path.name, md5]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", known)
    data = make("svhn", entry, tmp_path, mirror=tmp_path / "mirror")
    for subset, (pixels, labels) in written.items():
        rows = (data.samples["official"] == subset).to_numpy()
        assert (data.images[rows] == pixels).all()
        assert (data.labels[rows] == labels).all()


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """The entry of CIFAR-10 for an archive of 12 and 5 images, and these images and labels."""
    import torchvision

    rng = np.random.default_rng(0)
    entry, written = copy.deepcopy(catalogue()["cifar10"]), {}
    kind, folder = torchvision.datasets.CIFAR10, tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    for subset, n in (("train", 12), ("test", 5)):
        pixels = rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
        labels = np.arange(n) % 10
        written[subset] = pixels, labels
        content = {"data": pixels.reshape(n, -1), "labels": labels.tolist()}
        monkeypatch.setattr(kind, f"{subset}_list", [write(f"{subset}_batch", content)])
    name, md5 = write("batches.meta", {"label_names": entry["classes"]})
    monkeypatch.setattr(kind, "meta", {"filename": name, "key": "label_names", "md5": md5})
    path = tmp_path / "mirror" / entry["files"][0]["path"]
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, folder.name)
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    entry["files"][0]["copies"] = [{"digest": f"md5:{md5}", "urls": [], "what": "a substitute"}]
    return entry, written, path


def test_cifar_10_is_read_from_its_archive_as_torchvision_reads_it(tmp_path, cifar10):
    entry, written, path = cifar10
    data = make("cifar10", entry, tmp_path, mirror=path.parent)
    for subset, (pixels, labels) in written.items():
        rows = (data.samples["official"] == subset).to_numpy()
        assert (data.images[rows] == pixels).all()
        assert (data.labels[rows] == labels).all()


def test_an_archive_that_cannot_be_unpacked_is_named(tmp_path, cifar10):
    entry, _, path = cifar10
    path.write_bytes(gzip.compress(b"no archive"))
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    entry["files"][0]["copies"][0]["digest"] = f"md5:{md5}"
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz: is damaged or cut short"):
        make("cifar10", entry, tmp_path, mirror=path.parent)


def test_the_phantom_knows_its_patients_masks_and_copies(tmp_path):
    data = make("phantom", small_phantom(), tmp_path)
    assert len(data) == 6 * 5 * 2 + 3
    assert data.samples["patient"].nunique() == 30
    assert data.samples.groupby("patient")["label"].nunique().max() == 1
    assert data.samples.groupby("patient")["official"].nunique().max() == 1
    assert data.metadata["counts"]["identical_pixels"] == {"groups": 3, "images": 6}
    area = data.masks.sum((1, 2, 3))
    ill = data.labels != data.classes.index("normal")
    assert (area[~ill] == 0).all()
    assert (area[ill] > 15).all()
    assert area.max() < 64 * 64 / 4


def test_separation_changes_the_lesion_and_nothing_else(tmp_path):
    far = make("phantom", small_phantom(noise=0.0), tmp_path, target="far")
    none = make("phantom", small_phantom(noise=0.0, separation=0.0), tmp_path, target="none")
    change = np.abs(far.images.astype(int) - none.images.astype(int))
    inside, outside = change[far.masks == 1], change[far.masks == 0]
    assert (change[far.labels == 0] == 0).all()
    assert inside.mean() > 20
    assert outside.mean() < 1
    assert (far.masks == none.masks).all()


def test_images_of_a_patient_resemble_each_other_more_than_those_of_others(tmp_path):
    data = make("phantom", small_phantom(copies=0), tmp_path)
    images = data.images[data.labels == 0, 0].astype(float)
    own = np.abs(images[::2] - images[1::2]).mean()
    others = np.abs(images[:-2:2] - images[2::2]).mean()
    assert own < others


# --- a user's folder ---


def test_a_folder_gives_classes_by_name_and_patients_by_table(tmp_path, folder):
    rows = [f"{c}/{n}.png,{c}{n // 2}" for c in ("ill", "well") for n in range(3)]
    (folder / "patients.csv").write_text("\n".join(["file,patient", *rows]))
    data = make("mine", folder_entry(folder, patients="patients.csv"), tmp_path)
    assert data.classes == ("ill", "well")
    assert data.samples["patient"].tolist() == ["0", "0", "1", "2", "2", "3"]
    assert data.shape == (1, 8, 8)


def test_a_corrupt_image_is_named_and_nothing_is_left(tmp_path, folder):
    (folder / "well/1.png").write_bytes(png(3)[:70])
    with pytest.raises(DataError, match=r"images/well/1\.png: is not a readable image") as caught:
        make("mine", folder_entry(folder), tmp_path)
    assert "replace or remove the file" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_mixed_sizes_ask_for_a_size_and_a_size_helps(tmp_path, folder):
    (folder / "well/1.png").write_bytes(png(3, (20, 10)))
    with pytest.raises(DataError, match=r"1\.png: is 20×10 pixels where 8×8 .*'settings\.size'"):
        make("mine", folder_entry(folder), tmp_path)
    assert make("mine", folder_entry(folder, size=16), tmp_path).shape == (1, 16, 16)


def test_deep_images_are_refused_instead_of_clipped(tmp_path, folder):
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(folder / "ill/1.png")
    with pytest.raises(DataError, match="more than 8 bits"):
        make("mine", folder_entry(folder), tmp_path)


def test_an_image_that_claims_to_be_huge_is_not_decoded(tmp_path, folder, monkeypatch):
    monkeypatch.setattr("assay.data.picture.MAX_PIXELS", 60)
    with pytest.raises(DataError, match="has 8×8 pixels"):
        make("mine", folder_entry(folder), tmp_path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,patient\nill/0.png,a\n", r"no patient for 'ill/1\.png' \(5 such images\)"),
        ("name,patient\nill/0.png,a\n", "needs the columns file and patient"),
        ("file,patient\nill/0.png,a\nill/0.png,b\n", r"names 'ill/0\.png' twice"),
        ("", "has the columns none; it needs the columns file and patient"),
    ],
)
def test_a_wrong_table_of_patients_is_told(tmp_path, folder, table, message):
    (folder / "patients.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        make("mine", folder_entry(folder, patients="patients.csv"), tmp_path)


def test_missing_and_empty_folders_are_told(tmp_path, folder):
    with pytest.raises(DataError, match=r"'settings\.folder'"):
        make("mine", folder_entry(tmp_path / "nowhere"), tmp_path)
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="empty: contains no images"):
        make("mine", folder_entry(folder), tmp_path)
    with pytest.raises(DataError, match="has 0 sub-folders"):
        make("mine", folder_entry(folder / "empty"), tmp_path)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("scan.nii.gz", "NIfTI"), ("deep/2.NII", "NIfTI"), ("1.npy", "NumPy"), ("1.mat", "MATLAB"),
        ("1.nrrd", "NRRD"), ("photo.heic", "HEIC"), ("1.jp2", "JPEG 2000"), ("1.NEF", "camera raw"),
        ("slide.svs", "a whole-slide image"),
    ],
)  # fmt: skip
def test_formats_that_are_not_read_are_named_and_refused_with_the_remedy(
    folder, tmp_path, name, what
):
    (folder / "well" / name).parent.mkdir(exist_ok=True)
    (folder / "well" / name).write_bytes(b"whatever")
    with pytest.raises(DataError, match=rf"{name}: is {what}, which is not read; export it as PNG"):
        make("mine", folder_entry(folder), tmp_path)


def test_colour_that_is_lost_is_told_and_grey_in_three_channels_is_not(folder, tmp_path, caplog):
    grey = Image.open(folder / "ill/0.png").convert("RGB")
    grey.save(folder / "ill/0.png")
    make("mine", folder_entry(folder), tmp_path)
    assert "coloured" not in caplog.text
    Image.new("RGB", grey.size, (200, 30, 30)).save(folder / "well/1.png")
    make("mine", folder_entry(folder), tmp_path, target="again")
    assert "1 of 6 images are coloured and were made grey" in caplog.text
    assert "well/1.png" in caplog.text
    caplog.clear()
    make("mine", folder_entry(folder, channels=3), tmp_path, target="third")
    assert "coloured" not in caplog.text


# --- npz and idx files ---


def medmnist_file(path, labels, channels=1):
    arrays = {}
    for subset, count in (("train", 6), ("val", 2), ("test", 3)):
        shape = (count, 28, 28) if channels == 1 else (count, 28, 28, 3)
        rng = np.random.default_rng(count)
        arrays[f"{subset}_images"] = rng.integers(0, 256, shape, dtype=np.uint8)
        arrays[f"{subset}_labels"] = labels(count)
    path.parent.mkdir(parents=True)
    np.savez(path, **arrays)
    return arrays


def test_medmnist_keeps_parts_and_colours(tmp_path):
    path = tmp_path / "medmnist/dermamnist.npz"
    arrays = medmnist_file(path, lambda n: np.arange(n)[:, None] % 2, channels=3)
    entry = catalogue()["medmnist_dermamnist"]
    entry["classes"] = ["a", "b"]
    entry["files"][0]["copies"][0]["digest"] = sha256(path.read_bytes())
    data = make("derma", entry, tmp_path, mirror=tmp_path)
    assert data.samples["official"].value_counts().to_dict() == {"train": 6, "test": 3, "val": 2}
    assert (data.images[6] == arrays["val_images"][0].transpose(2, 0, 1)).all()


def test_several_findings_become_one_class_per_image(tmp_path):
    path = tmp_path / "medmnist/chestmnist.npz"
    medmnist_file(path, lambda n: np.array([[0, 0], [1, 0], [0, 1], [1, 1]] * 2)[:n])
    entry = catalogue()["medmnist_chestmnist"]
    entry["classes"] = ["no finding", "a", "b"]
    entry["files"][0]["copies"][0]["digest"] = sha256(path.read_bytes())
    data = make("chest", entry, tmp_path, mirror=tmp_path)
    assert data.labels.tolist() == [0, 1, 2, 0, 1, 0, 1, 0, 1, 2]
    assert data.metadata["dropped_with_several_findings"] == 1
    assert data.samples["file"].tolist()[3] == "train/000004"


def test_one_class_against_the_rest_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr("assay.data.kinds.medmnist.PIECE", 4)
    path = tmp_path / "medmnist/dermamnist_224.npz"
    arrays = medmnist_file(path, lambda n: np.arange(n)[:, None], channels=3)
    entry = catalogue()["dermoscopy"]
    entry["shape"] = [3, 28, 28]
    entry["files"][0]["copies"][0]["digest"] = sha256(path.read_bytes())
    data = make("derma", entry, tmp_path, mirror=tmp_path)
    assert data.labels.tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    for subset, start in (("train", 0), ("val", 6), ("test", 8)):
        expected = arrays[f"{subset}_images"].transpose(0, 3, 1, 2)
        assert (data.images[start : start + len(expected)] == expected).all()


def test_images_of_another_kind_than_bytes_are_told(tmp_path):
    path = tmp_path / "medmnist/octmnist.npz"
    arrays = medmnist_file(path, lambda n: np.arange(n)[:, None] % 4)
    path.unlink()
    np.savez(path, **{**arrays, "val_images": arrays["val_images"].astype(np.float32)})
    entry = catalogue()["medmnist_octmnist"]
    entry["files"][0]["copies"][0]["digest"] = sha256(path.read_bytes())
    with pytest.raises(DataError, match=r"octmnist\.npz.*val_images are float32"):
        make("oct", entry, tmp_path, mirror=tmp_path)


def test_a_file_that_is_no_npz_is_told(tmp_path):
    (tmp_path / "medmnist").mkdir()
    (tmp_path / "medmnist/octmnist.npz").write_bytes(b"PK nonsense")
    entry = catalogue()["medmnist_octmnist"]
    entry["files"][0]["copies"][0]["digest"] = sha256(b"PK nonsense")
    with pytest.raises(DataError, match=r"octmnist\.npz: is not a readable npz"):
        make("oct", entry, tmp_path, mirror=tmp_path)
