"""Renders report/{scale}/index.html from the written tables, figures, statistics and ledgers."""

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.analysis.brief import parse_brief
    from assay.report.page import render_page

    studies = map(parse_brief, snakemake.params.studies)
    render_page(snakemake.wildcards.scale, studies, snakemake.output[0])


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
