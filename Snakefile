# assay: generative against discriminative image classifiers under perturbation, from images to report.
#
# inputs    config/config.yaml (scale, studies), config/catalogue/, config/scales/, config/studies/
# outputs   report/{scale}/index.html and, per study, tables, figures, statistics and the ledger
# steps     data -> splits -> training -> attack suites -> outcomes -> analysis -> report
#
#   snakemake --cores all                                   run the chosen studies at the chosen scale
#   snakemake --cores all --config scale=workstation        the real data sets
#   snakemake --list                                        every target with one line about it
from snakemake.utils import min_version

min_version("9.16")


report: "report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/attack.smk"
include: "workflow/rules/analyse.smk"
include: "workflow/rules/report.smk"


localrules:
    all,
    data,
    models,
    outcomes,
    tables,
    figures,
    statistics,


rule all:
    """Everything: models, outcomes, tables, figures, statistics and the report page."""
    default_target: True
    input:
        TARGETS.page,
        TARGETS.analyses,


rule data:
    """Prepared data sets and split files with their leakage tables."""
    input:
        TARGETS.splits,


rule models:
    """Trained networks of the chosen studies."""
    input:
        TARGETS.models,


rule outcomes:
    """Outcome files: one row per sample, attack and epsilon."""
    input:
        TARGETS.outcomes,


rule tables:
    """Tables of the chosen studies as CSV, Markdown and LaTeX."""
    input:
        TARGETS.tables,


rule figures:
    """Figures of the chosen studies as SVG and PDF."""
    input:
        TARGETS.figures,


rule statistics:
    """Tests across models, checks of the evaluation and the ledger of reported numbers."""
    input:
        TARGETS.statistics,
