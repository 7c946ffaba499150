"""One figure of a study as SVG and PDF, and its caption."""

from pathlib import Path

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.analysis.figures import caption, draw_figure, save_figure
    from assay.analysis.inputs import AnalysisInputs
    from assay.foundation.files import write_text

    study, spec = snakemake.params.study, snakemake.params.spec
    manifest, written = snakemake.params.manifest, snakemake.input.statistics
    inputs = AnalysisInputs.from_manifest(manifest, study, written)
    save_figure(draw_figure(spec, study, inputs), Path(snakemake.output.svg).with_suffix(""))
    write_text(snakemake.output.caption, caption(spec, study, inputs) + "\n")


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
