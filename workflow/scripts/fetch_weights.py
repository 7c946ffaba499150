"""Fetches and verifies the published weights that a model starts from."""

import shutil

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.foundation.files import atomic_path
    from assay.foundation.places import downloads_of, mirror_of
    from assay.models.pretrained import pretrained_weights

    found = pretrained_weights(
        snakemake.params.entry,
        mirror=mirror_of(snakemake.config),
        cache=downloads_of(snakemake.config),
    )
    with atomic_path(snakemake.output[0]) as path:
        shutil.copyfile(found, path)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
