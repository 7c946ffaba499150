"""Renders report/{scale}/index.html from the written tables, figures, statistics and ledgers."""

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.report.page import render_page

    render_page(snakemake.wildcards.scale, snakemake.params.studies, snakemake.output[0])


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
