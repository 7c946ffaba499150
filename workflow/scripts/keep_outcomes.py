"""Keeps a study's outcomes, records and measurements in three small files beside its tables."""

import logging
from pathlib import Path

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.analysis.kept import keep_study

    params, limit = snakemake.params, snakemake.params.limit
    folder = Path(snakemake.output.outcomes).parent
    size = keep_study(params.manifest, params.study, folder, limit=limit)
    words = "no size limit at this scale" if limit is None else f"at most {limit:g} MB"
    logging.getLogger("assay").info("kept %.2f MB in %s (%s)", size / 1e6, folder, words)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
