# inputs    every study's tables, figures, statistics, ledger
# outputs   report/{scale}/index.html, one self-contained page
# steps     collect -> render; `snakemake --report` makes report/{scale}/report.html beside it


rule render_page:
    """The report page: one self-contained HTML file with the results of all studies."""
    input:
        analyses=TARGETS.analyses,
        templates=at_home(TARGETS.templates),
    output:
        report(
            paths.PAGE,
            caption="../../report/captions/index.rst",
            category="Start here",
            labels={"what": "report page"},
        ),
    log:
        f"{paths.RESULTS}/logs/render_page.log",
    benchmark:
        f"{paths.RESULTS}/benchmarks/render_page.tsv"
    localrule: AT_HOME
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=1000,  # the files of one report
        runtime=10,
    params:
        studies=[PLAN.brief(name).to_json() for name in PLAN.studies],
        code=digest("render_page", *PLAN.kinds()),
    script:
        "../scripts/render_page.py"


# One target per study, so that `snakemake millner2024` makes all that belongs to it.
for name, files in TARGETS.by_study.items():

    rule:
        """Tables, figures, statistics and ledger of this study."""
        name:
            name
        input:
            files,
        localrule: True
