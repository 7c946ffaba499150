"""One figure of a study as SVG and PDF, and its caption."""

from pathlib import Path

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.analysis.inputs import AnalysisInputs
    from assay.analysis.kept import kept_run
    from assay.analysis.report import write_study_figure

    params, folder = snakemake.params, Path(snakemake.input.kept[0]).parent
    with kept_run(folder, params.manifest) as manifest:
        inputs = AnalysisInputs.from_manifest(manifest, params.study, snakemake.input.statistics)
        write_study_figure(params.spec, inputs, snakemake.output.svg)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
