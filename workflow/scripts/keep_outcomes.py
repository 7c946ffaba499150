"""Keeps a study's outcomes, records and measurements in three small files beside its tables."""

import logging
from contextlib import chdir
from pathlib import Path

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.analysis.brief import parse_brief
    from assay.analysis.kept import keep_study
    from assay.analysis.run_files import parse_run_files

    params, limit = snakemake.params, snakemake.params.limit
    made = Path(snakemake.output.outcomes)
    # The manifest names files as the rules do. What a storage brings, and a module with a prefix
    # makes, lies below another folder.
    with chdir(made.parents[3]):
        folder = Path(*made.parts[-4:-1])
        files = parse_run_files(params.manifest)
        size = keep_study(files, parse_brief(params.study), folder, limit=limit)
    words = "no size limit at this scale" if limit is None else f"at most {limit:g} MB"
    logging.getLogger("assay").info("kept %.2f MB in %s (%s)", size / 1e6, folder, words)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
