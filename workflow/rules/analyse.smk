# inputs    outcomes, training histories and facts, features, leakage tables, config/reported/
# outputs   report/{scale}/{study}/: outcomes.parquet, records.json and measurements.npz, from which all else is made;
#           statistics/, ledger, checks, headline and tables/, each as CSV, Markdown and LaTeX; provenance.json; figures/
# steps     keep what the study's report is made from -> all its statistics once -> each table and each figure from them,
#           by its own job; never needs torch. `assay render` takes the same steps from the kept files
STATISTICS = expand("report/{{scale}}/{{study}}/{place}.csv", place=ANALYSES)


rule keep_outcomes:
    """Outcomes, records and measurements of one study in three small files."""
    input:
        outcomes=lambda w: PLAN.outcome_files(w.study),
        records=lambda w: PLAN.record_files(w.study),
    output:
        outcomes="report/{scale}/{study}/outcomes.parquet",
        records="report/{scale}/{study}/records.json",
        measurements="report/{scale}/{study}/measurements.npz",
    log:
        "results/{scale}/logs/keep_outcomes/{study}.log",
    benchmark:
        "results/{scale}/benchmarks/keep_outcomes/{study}.tsv"
    localrule: AT_HOME
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(600, 1),  # rows of one model at a time, and what figures draw
        runtime=30,
    params:
        study=lambda w: run_facts(PLAN.brief(w.study)),
        manifest=lambda w: PLAN.manifest(w.study),
        limit=PLAN.configuration.scale["kept_megabytes"],
        code=digest("keep_outcomes"),
    script:
        "../scripts/keep_outcomes.py"


rule analyse_study:
    """Accuracies, paired tests, checks, ledger, headline and provenance of one study."""
    input:
        kept=rules.keep_outcomes.output,
        reported=lambda w: at_home(PLAN.reported_files(w.study)),
    output:
        accuracy="report/{scale}/{study}/statistics/accuracy.csv",
        mcnemar=report(
            "report/{scale}/{study}/statistics/mcnemar.csv",
            caption="../../report/captions/statistics.rst",
            category="Significance",
            subcategory="{study}",
            labels={"what": "McNemar, every pair of models"},
        ),
        between_splits=report(
            "report/{scale}/{study}/statistics/between_splits.csv",
            caption="../../report/captions/statistics.rst",
            category="Significance",
            subcategory="{study}",
            labels={"what": "every pair of models, between splits"},
        ),
        ranking=report(
            "report/{scale}/{study}/statistics/ranking.csv",
            caption="../../report/captions/statistics.rst",
            category="Significance",
            subcategory="{study}",
            labels={"what": "ranking with significance groups"},
        ),
        cochran=report(
            "report/{scale}/{study}/statistics/cochran.csv",
            caption="../../report/captions/statistics.rst",
            category="Significance",
            subcategory="{study}",
            labels={"what": "Cochran's Q"},
        ),
        resampled_t="report/{scale}/{study}/statistics/resampled_t.csv",
        costs=report(
            "report/{scale}/{study}/statistics/costs.csv",
            caption="../../report/captions/costs.rst",
            category="Cost",
            subcategory="{study}",
            labels={"what": "time, memory and passes"},
        ),
        ledger=report(
            "report/{scale}/{study}/ledger.csv",
            caption="../../report/captions/ledger.rst",
            category="Reported vs reproduced",
            subcategory="{study}",
            labels={"what": "ledger"},
        ),
        checks=report(
            "report/{scale}/{study}/checks.csv",
            caption="../../report/captions/checks.rst",
            category="Can the evaluation be trusted?",
            subcategory="{study}",
            labels={"what": "checks"},
        ),
        headline="report/{scale}/{study}/headline.csv",
        markdown=expand("report/{{scale}}/{{study}}/{place}.md", place=ANALYSES),
        latex=expand("report/{{scale}}/{{study}}/{place}.tex", place=ANALYSES),
        provenance="report/{scale}/{study}/provenance.json",
    log:
        "results/{scale}/logs/analyse_study/{study}.log",
    benchmark:
        "results/{scale}/benchmarks/analyse_study/{study}.tsv"
    localrule: AT_HOME
    conda:
        "../../envs/analysis.yaml"
    resources:
        # Rows of one model at a time; of five models, 60 bytes for each row that takes 12 on disk.
        mem_mb=memory(500, 10),
        runtime=20,
    params:
        study=lambda w: PLAN.brief(w.study),
        manifest=lambda w: PLAN.manifest(w.study),
        code=digest("analyse_study"),
    script:
        "../scripts/analyse_study.py"


rule make_table:
    """One table of a study as CSV, Markdown and LaTeX."""
    input:
        statistics=STATISTICS,
        kept=rules.keep_outcomes.output,
        reported=lambda w: at_home(PLAN.reported_files(w.study)),
    output:
        csv=report(
            "report/{scale}/{study}/tables/{table}.csv",
            caption="../../report/captions/table.rst",
            category="Robustness",
            subcategory="{study}",
            labels={"what": "{table}"},
        ),
        markdown="report/{scale}/{study}/tables/{table}.md",
        latex="report/{scale}/{study}/tables/{table}.tex",
    log:
        "results/{scale}/logs/make_table/{study}/{table}.log",
    benchmark:
        "results/{scale}/benchmarks/make_table/{study}/{table}.tsv"
    localrule: AT_HOME
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(400, 5),  # tables of defects read some columns of the outcomes
        runtime=10,
    params:
        spec=lambda w: PLAN.studies[w.study].study["tables"][w.table],
        study=lambda w: PLAN.brief(w.study),
        manifest=lambda w: PLAN.manifest(w.study),
        code=digest("make_table"),
    script:
        "../scripts/make_table.py"


rule make_figure:
    """One figure of a study as SVG and PDF."""
    input:
        statistics=STATISTICS,
        kept=rules.keep_outcomes.output,
        reported=lambda w: at_home(PLAN.reported_files(w.study)),
        style=local(from_here(resource("report/assay.mplstyle"))),
    output:
        svg=report(
            "report/{scale}/{study}/figures/{figure}.svg",
            caption="../../report/captions/figure.rst",
            category="Robustness",
            subcategory="{study}",
            labels={"what": "{figure}"},
        ),
        pdf="report/{scale}/{study}/figures/{figure}.pdf",
        caption="report/{scale}/{study}/figures/{figure}.txt",
    log:
        "results/{scale}/logs/make_figure/{study}/{figure}.log",
    benchmark:
        "results/{scale}/benchmarks/make_figure/{study}/{figure}.tsv"
    localrule: AT_HOME
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(800, 0),  # the latent features of one split, a few images; no outcome rows
        runtime=10,
    params:
        spec=lambda w: PLAN.studies[w.study].study["figures"][w.figure],
        study=lambda w: PLAN.brief(w.study),
        manifest=lambda w: PLAN.manifest(w.study),
        code=digest("make_figure"),
    script:
        "../scripts/make_figure.py"
