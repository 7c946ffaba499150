"""Distances of the closest broken images, by hand on a few rows."""

import numpy as np
import pandas as pd
import pytest

from assay.analysis.distances import NEEDED, distances


def rows():
    """Two attacks in L2 and one in L-infinity on four images of one model."""
    table = [
        # attack, norm, epsilon, sample, clean, broken, linf, l2
        ("ddn", "l2", 60.0, 0, 1, True, 0.2, 1.0),
        ("ddn", "l2", 60.0, 1, 1, True, 0.3, 2.0),
        ("ddn", "l2", 60.0, 2, 1, False, 0.9, 9.0),
        ("ddn", "l2", 60.0, 3, 0, True, 0.0, 0.0),
        ("cw", "l2", 1.5, 0, 1, False, 0.2, 1.5),
        ("cw", "l2", 1.5, 1, 1, True, 0.2, 1.5),
        ("cw", "l2", 1.5, 2, 1, False, 0.2, 1.5),
        ("cw", "l2", 1.5, 3, 0, True, 0.0, 0.0),
        ("df", "linf", 1.0, 0, 1, True, 0.1, 3.0),
        ("df", "linf", 1.0, 1, 1, True, 0.3, 3.0),
        ("df", "linf", 1.0, 2, 1, True, 0.5, 3.0),
        ("df", "linf", 1.0, 3, 0, True, 0.0, 0.0),
        ("other", "l2", 1.0, 0, 1, True, 0.0, 0.1),
    ]
    names = [
        "attack",
        "norm",
        "epsilon",
        "sample",
        "clean_prediction",
        "misclassified",
        "linf",
        "l2",
    ]
    frame = pd.DataFrame(table, columns=names)
    frame = frame.assign(dataset="mnist", split="official_0", model="eabs", label=1)
    return frame[list(NEEDED)]


def test_the_closest_of_all_attacks_counts_image_by_image():
    table = distances(rows(), ["ddn", "cw", "df"]).set_index("norm")
    l2, linf = table.loc["l2"], table.loc["linf"]
    # 1.0, 1.5 (of C&W), nothing, and 0 for the image that is wrong anyway.
    assert (l2.n, l2.misclassified) == (4, 3)
    assert l2["median"] == pytest.approx((1.0 + 1.5) / 2)
    assert np.isinf(l2["mean"])
    assert l2.attacks == "ddn, cw"
    assert (linf.n, linf.misclassified) == (4, 4)
    assert linf["mean"] == pytest.approx((0.1 + 0.3 + 0.5) / 4)
    assert linf["median"] == pytest.approx(0.2)


def test_images_of_several_splits_are_told_apart():
    twice = pd.concat([rows(), rows().assign(split="official_1")])
    table = distances(twice, ["ddn"])
    assert table.n.tolist() == [8]


def test_no_rows_make_an_empty_table_with_its_columns():
    table = distances(rows(), ["fgsm"])
    assert table.empty
    assert {"mean", "median", "norm"} <= set(table)
