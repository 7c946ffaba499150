"""A user's folder: what counts as an image, and what is said of the rest."""

import os
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from data_factory import ROOT, catalogue, dicom, encoded, folder_of, png
from PIL import Image

from assay.data.dataset import load
from assay.data.kinds.image_folder import SETTINGS
from assay.data.prepare import prepare
from assay.foundation.errors import AssayError, ConfigError, DataError


@pytest.fixture
def folder(tmp_path):
    """Two classes, three images each."""
    names = [f"{name}/{number}.png" for name in ("ill", "well") for number in range(3)]
    return folder_of(tmp_path / "images", {name: png(seed) for seed, name in enumerate(names)})


def make(root, classes=None, **settings):
    entry = {**catalogue()["image_folder"], "classes": classes}
    entry["settings"] = {**entry["settings"], "folder": str(root), **settings}
    target = root.parent / "out"
    prepare("mine", entry, target, mirror=None, cache=root.parent / "cache", seed=0)
    return load(target)


def skipped(data):
    return {row["why"]: (row["number"], row["example"]) for row in data.metadata["skipped"]}


@pytest.mark.parametrize(
    "place",
    [
        ".ipynb_checkpoints", ".Trash-1000/files", ".thumbnails/normal", "@eaDir/0.png", "#recycle",
        "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found", "deep/.hidden/er",
    ],
)  # fmt: skip
def test_images_in_hidden_and_system_folders_are_none_of_the_users(folder, place, caplog):
    folder_of(folder / "ill" / place, {"9.png": png(99)})
    data = make(folder)
    assert len(data) == 6
    ((why, (number, example)),) = skipped(data).items()
    assert (why, number) == ("hidden or of the system", 1)
    assert example.startswith("ill/")
    assert f"left out are 1 hidden or of the system ('{example}')" in caplog.text


@pytest.mark.parametrize("name", [".DS_Store", "._0.png", "Thumbs.db", "desktop.ini", "DICOMDIR"])
def test_files_of_systems_are_left_out_wherever_they_are(folder, name):
    folder_of(folder, {name: b"x", f"ill/{name}": dicom(np.eye(8, dtype=np.uint8))})
    data = make(folder)
    assert len(data) == 6
    assert skipped(data) == {"hidden or of the system": (2, name)}


def test_a_hidden_folder_is_no_class(folder):
    folder_of(folder, {".git/1.png": png(9), "@eaDir/1.png": png(9)})
    assert make(folder).classes == ("ill", "well")


def test_everything_that_is_left_out_is_told_in_one_line_and_recorded(folder, caplog):
    folder_of(folder, {
        "loose.png": png(9), "ill/notes.txt": b"see B", "well/deep/table.csv": b"a,b",
        "other/1.png": png(7), "other/deep/2.png": png(8),
    })  # fmt: skip
    data = make(folder, classes=["ill", "well"])
    assert len(data) == 6
    assert skipped(data) == {
        "in no class folder": (1, "loose.png"),
        "in folders that 'classes' does not name": (2, "other"),
        "no image": (2, "ill/notes.txt"),
    }
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        f"{folder}: left out are 1 in no class folder ('loose.png'), 2 in folders that 'classes' "
        "does not name ('other'), 2 no image ('ill/notes.txt')"
    ]


def test_a_folder_that_is_wholly_read_is_read_without_a_word(folder, caplog):
    assert make(folder).metadata["skipped"] == []
    assert not caplog.records


@pytest.mark.parametrize("name", ["9", "9.jfif", "9.image", "9.PNG"])
def test_images_are_known_by_content_where_the_suffix_does_not_tell(folder, name, caplog):
    folder_of(folder, {f"ill/{name}": png(9)})
    assert len(make(folder)) == 7
    message = "images by their content: 1 ('ill/9" in caplog.text
    assert message == (name != "9.PNG")


def test_a_folder_named_like_an_image_is_a_folder(folder):
    folder_of(folder, {"ill/series.png/1.png": png(9)})
    assert make(folder).samples["file"].tolist()[3] == "ill/series.png/1.png"


def test_linked_folders_are_followed_once_and_told(folder, tmp_path, caplog):
    folder_of(tmp_path / "elsewhere", {"1.png": png(8), "deep/2.png": png(9)})
    (folder / "ill/more").symlink_to(tmp_path / "elsewhere")
    (folder / "ill/again").symlink_to(tmp_path / "elsewhere")
    (folder / "ill/loop").symlink_to(folder / "ill")
    (tmp_path / "elsewhere/deep/up").symlink_to(tmp_path / "elsewhere")
    data = make(folder)
    assert len(data) == 8
    assert skipped(data) == {"links to folders that are read already": (3, "ill/again/deep/up")}
    assert "linked folders are followed: 1 ('ill/again')" in caplog.text


def test_all_that_cannot_be_read_is_named_at_once(folder):
    (folder / "ill/gone.png").symlink_to(folder / "nowhere.png")
    (folder / "ill/self.png").symlink_to(folder / "ill/self.png")
    os.mkfifo(folder / "well/pipe.png")
    folder_of(folder, {"well/a.heic": b"x", "well/b.npy": b"x"})
    with pytest.raises(DataError) as caught:
        make(folder)
    line = str(caught.value)
    assert "5 of 11 files cannot be used" in line
    assert "gone.png is a link to nothing" in line
    assert "self.png is a link to nothing" in line
    assert "and 2 more; " in line
    assert "replace or remove it / export it as PNG" in line
    assert "\n" not in line


def test_bad_images_are_counted_and_the_first_are_named_in_their_order(folder):
    deep = encoded(Image.fromarray(np.zeros((8, 8), np.uint16)))
    folder_of(folder, {"ill/1.png": deep, "ill/2.png": b"", "well/0.png": png(3, (9, 9))})
    folder_of(folder, {"well/1.png": png(3)[:50]})
    with pytest.raises(DataError) as caught:
        make(folder)
    line = str(caught.value)
    assert line.startswith(f"4 of 6 files cannot be used: {folder}/ill/1.png has more than 8 bits")
    assert line.index("ill/2.png") < line.index("well/0.png is 9×9 pixels where 8×8")
    assert "and 1 more; set 'settings.window'" in line
    assert not (folder.parent / "out").exists()


def test_the_size_is_that_of_the_first_image_that_can_be_read(folder):
    folder_of(folder, {"ill/0.png": b"nonsense"})
    with pytest.raises(DataError, match=r"^\S+/ill/0\.png: is not a readable image"):
        make(folder)


def test_a_name_that_is_not_unicode_is_told(folder):
    Path(os.fsdecode(os.fsencode(folder / "ill") + b"/caf\xe9.png")).write_bytes(png(9))
    with pytest.raises(DataError, match=r"ill/caf.*\.png: has a name that is not UTF-8; rename"):
        make(folder)


# --- classes ---


@pytest.mark.parametrize(
    "name", ["Ill", "ill ", unicodedata.normalize("NFKC", "ｉｌｌ") + "\u00a0"]
)
def test_two_classes_that_are_one_on_another_system_are_told(folder, name):
    folder_of(folder, {f"{name}/1.png": png(9)})
    with pytest.raises(DataError, match=r"has two classes, .* that differ only in letter case"):
        make(folder)


def test_a_class_is_found_in_either_unicode_form(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "fièvre") for form in ("NFC", "NFD"))
    files = {f"{decomposed}/{n}.png": png(n) for n in range(3)} | {"well/1.png": png(9)}
    data = make(folder_of(tmp_path / "images", files), classes=[composed, "well"])
    assert data.classes == (composed, "well")
    assert data.samples["file"].iloc[0] == f"{composed}/0.png"


def test_a_class_without_a_folder_is_told_with_those_that_are_there(folder):
    with pytest.raises(DataError, match="no folder for class 'sick', but ill, well; correct 'clas"):
        make(folder, classes=["sick", "well"])


def test_one_class_is_no_data_set(tmp_path):
    with pytest.raises(DataError, match="has 1 sub-folders; make one sub-folder"):
        make(folder_of(tmp_path / "images", {"only/1.png": png(0)}))


def test_parts_of_a_publisher_are_no_classes_unless_the_entry_says_so(tmp_path):
    files = {f"{subset}/{n}.png": png(n) for n, subset in enumerate(["train", "Val", "test"])}
    root = folder_of(tmp_path / "images", files)
    with pytest.raises(DataError, match="has the sub-folders Val, test, train, which are no class"):
        make(root)
    assert len(make(root, classes=["train", "Val", "test"])) == 3


# --- settings ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *(({"size": size}, r"'settings\.size': .* is no size of an image; give \[height, width\]")
          for size in ("64", 0, -1, 64.5, [1, 2, 3], [64], [64, "64"], True, {"h": 1}, 10**6)),
        *(({"channels": n}, r"'settings\.channels': .* channels are not possible; choose 1")
          for n in (2, "3", None, [1], True)),
        *(({"background": b}, r"'settings\.background': .* is no colour; give a grey level")
          for b in ("black", 256, [0, 0], -1, 0.5)),
        ({"window": 400}, r"'settings\.window': 400 is no window"),
        ({"patients": ["a.csv"]}, r"'settings\.patients': .* is no file name"),
        ({"folder": 5}, r"'settings\.folder': there is no folder 5"),
    ],
    ids=str,
)  # fmt: skip
def test_an_impossible_setting_is_told_by_its_key_and_no_image_is_blamed(folder, settings, message):
    with pytest.raises((ConfigError, DataError), match=message) as caught:
        make(folder, **settings)
    assert ".png" not in str(caught.value).replace("give", "")


def test_the_documentation_lists_every_setting_with_its_default():
    page = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    table = page.split("| setting | default |")[1].split("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| `?(\w+)`? \|", table, re.MULTILINE))
    words = {None: "null", 1: "1"}
    assert rows == {key: words[value] for key, value in SETTINGS.items()} | {"folder": "none"}


def test_the_folder_itself_is_not_recorded(folder):
    make(folder)
    assert str(folder.parent).encode() not in (folder.parent / "out/dataset.json").read_bytes()


# --- patients ---


def patients(folder, text, encoding="utf-8"):
    (folder / "patients.csv").write_bytes(text.encode(encoding))
    return make(folder, patients="patients.csv").samples["patient"].tolist()


FILES = [f"{name}/{number}.png" for name in ("ill", "well") for number in range(3)]


@pytest.mark.parametrize(
    ("rows", "encoding"),
    [
        ("file,patient\n{}", "utf-8-sig"),
        ("file;patient\r\n{}", "utf-8"),
        ("patient\tfile\n{}", "utf-16"),
        (' "File", "Patient"\n{}', "utf-8"),
        ("file,age,patient\n{}", "utf-8"),
    ],
    ids=["BOM", "semicolons and CRLF", "tabs in UTF-16", "capitals and spaces", "more columns"],
)
@pytest.mark.parametrize("name", [lambda f: f, lambda f: ".\\" + f.replace("/", "\\")])
def test_tables_of_other_programs_are_read(folder, rows, encoding, name):
    head = rows.split("{")[0]
    separator = next(s for s in ";\t," if s in head)
    end = "\r\n" if "\r" in head else "\n"
    lines = []
    for number, file in enumerate(FILES):
        cells = {"file": name(file), "patient": f"P{number // 2}", "age": "40"}
        keys = [key.strip('" \r\n').lower() for key in head.split(separator)]
        lines.append(separator.join(cells[key] for key in keys))
    text = head + end.join(lines)
    assert patients(folder, text, encoding) == ["0", "0", "1", "1", "2", "2"]


def test_one_person_is_one_id_however_it_is_written(folder):
    ids = ["Zoë 1", " Zoe\u0308 1", "Zoë\u00a01 ", "Zo\u00adë  １", "zoë 1", "b"]
    table = "file,patient\n" + "\n".join(map(",".join, zip(FILES, ids, strict=True)))
    assert patients(folder, table) == ["0", "0", "0", "0", "1", "2"]


def test_leakage_is_zero_only_where_no_person_is_on_both_sides(folder):
    from assay.data.splits import leakage

    ids = ["P1 ", "b", "c", "P1", "d", "e"]
    patients(folder, "file,patient\n" + "\n".join(map(",".join, zip(FILES, ids, strict=True))))
    samples = load(folder.parent / "out").samples
    split = samples[["sample"]].assign(subset=["train"] * 3 + ["test"] * 3)
    table = leakage(samples, split)
    row = table[(table.measure == "patients") & (table.subsets == "train-test")]
    assert row.loc[row["class"] == "all", "images"].item() == 1


def test_ids_that_a_spreadsheet_may_have_changed_are_told_without_naming_them(folder, caplog):
    ids = ["007", "7", "7.0", "Anna", "anna", "b"]
    table = "file,patient\n" + "\n".join(map(",".join, zip(FILES, ids, strict=True)))
    assert patients(folder, table) == ["0", "1", "2", "3", "4", "5"]
    assert "5 patient ids differ only in letter case, leading zeros or '.0'" in caplog.text
    assert "ill/0.png" in caplog.text
    assert "nna" not in caplog.text


def test_names_of_a_mac_are_found_in_the_table(folder):
    name = unicodedata.normalize("NFD", "ill/é.png")
    folder_of(folder, {name: png(9)})
    rows = [f"{file},P{number}" for number, file in enumerate([*FILES, "ill/é.png"])]
    assert len(set(patients(folder, "file,patient\n" + "\n".join(rows)))) == 7


@pytest.mark.parametrize("unknown", ["", "NA", "n/a", "unknown", " - ", "\u200b"])
def test_a_placeholder_is_no_patient(folder, unknown):
    rows = [f"{file},P{number}" for number, file in enumerate(FILES)]
    rows[2], rows[4] = f"{FILES[2]},{unknown}", f"{FILES[4]},{unknown}"
    with pytest.raises(DataError, match=r"no patient for 'ill/2\.png' \(2 such images\)"):
        patients(folder, "file,patient\n" + "\n".join(rows))


def test_a_table_of_other_paths_is_told_with_one_of_them(folder):
    rows = [f"C:\\\\data\\\\{file},P1" for file in FILES]
    with pytest.raises(
        DataError, match=r"\(6 such images\), but names 6 other files \('C://data//ill"
    ):
        patients(folder, "file,patient\n" + "\n".join(rows))


def test_rows_of_no_image_and_repeated_rows_are_told_or_harmless(folder, caplog):
    rows = [f"{file},P{number}" for number, file in enumerate(FILES)]
    rows += [f" {FILES[0]} , P0", "ill/gone.png,P9"]
    assert len(patients(folder, "file,patient\n" + "\n".join(rows))) == 6
    assert "1 rows are of no image that is read: 'ill/gone.png'" in caplog.text


@pytest.mark.parametrize(
    ("text", "encoding", "message"),
    [
        ("file,patient\nill/0.png,caf\xe9", "latin-1", "cannot be read as a CSV .* UTF-8"),
        ("file,patient,Patient\n", "utf-8", "has the columns file, patient, patient; it needs"),
        ("file,patient\nill/0.png,Doe, Jane", "utf-8", "has 3 cells in row 2 under 2 columns; quo"),
        ('file,patient\na,b\0c\n"', "utf-8", "cannot be read as a CSV"),
    ],
)
def test_a_table_that_cannot_be_read_is_told(folder, text, encoding, message):
    with pytest.raises(DataError, match=rf"patients\.csv: {message}"):
        patients(folder, text, encoding)


def test_no_id_of_a_table_is_kept(folder):
    rows = [f"{file},H-{4711 + number}" for number, file in enumerate(FILES)]
    patients(folder, "file,patient\n" + "\n".join(rows))
    for path in (folder.parent / "out").iterdir():
        assert b"H-47" not in path.read_bytes(), path


def test_every_error_is_a_single_line(folder):
    folder_of(folder, {"ill/a\nb.png": b"x"})
    with pytest.raises(AssayError) as caught:
        make(folder)
    assert "\n" not in str(caught.value)
