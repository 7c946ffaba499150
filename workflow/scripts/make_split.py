"""Divides a data set into training, validation and test images and measures what leaks."""

import pandas as pd

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.data.splits import leakage, make_split
    from assay.foundation.files import atomic_path, read_json

    scheme, index = snakemake.params.scheme
    samples = pd.read_parquet(snakemake.input.samples)
    classes = read_json(snakemake.input.dataset)["classes"]
    split = make_split(samples, scheme, index, seed=snakemake.params.seed, classes=classes)
    with atomic_path(snakemake.output.split) as path:
        split.to_parquet(path, index=False)
    with atomic_path(snakemake.output.leakage) as path:
        leakage(samples, split, classes).to_csv(path, index=False)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
