"""Renders report/{scale}/index.html from the written tables, figures, statistics and ledgers."""

from pathlib import Path

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.analysis.page import render_page

    out = Path(snakemake.output[0])
    render_page(
        snakemake.wildcards.scale,
        snakemake.params.studies,
        out,
        {"Provenance and workflow graph": "report.html"},
    )


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
