# inputs    outcomes, training histories and facts, features, leakage tables, config/reported/
# outputs   report/{scale}/{study}/: outcomes.parquet, records.json and measurements.npz, from which all else is made;
#           statistics/, ledger, checks, headline and tables/, each as CSV, Markdown, LaTeX and JSON (for the page); provenance.json; figures/
# steps     keep what the study's report is made from -> all its statistics -> all its tables and figures in one process
#           -> each to its place (of what cannot be drawn, the reason is there); never needs torch. `assay render` takes
#           the same steps from the kept files
STATISTICS = [paths.analysis(place) for place in paths.ANALYSES]


rule keep_outcomes:
    """Outcomes, records and measurements of one study in three small files."""
    input:
        outcomes=lambda w: PLAN.outcome_files(w.study),
        records=lambda w: PLAN.record_files(w.study),
    output:
        outcomes=paths.KEPT_OUTCOMES,
        records=paths.KEPT_RECORDS,
        measurements=paths.KEPT_MEASUREMENTS,
    log:
        paths.log("keep_outcomes", "{study}"),
    benchmark:
        paths.benchmark("keep_outcomes", "{study}")
    localrule: AT_HOME
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(600, 1),  # rows of one model at a time, and what figures draw
        runtime=30,
    params:
        study=lambda w: run_facts(PLAN.brief(w.study)).to_json(),
        manifest=lambda w: PLAN.manifest(w.study).to_json(),
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
        accuracy=paths.analysis("statistics/accuracy"),
        mcnemar=report(
            paths.analysis("statistics/mcnemar"),
            caption="../../report/captions/statistics.rst",
            category="Significance",
            subcategory="{study}",
            labels={"what": "McNemar, every pair of models"},
        ),
        between_splits=report(
            paths.analysis("statistics/between_splits"),
            caption="../../report/captions/statistics.rst",
            category="Significance",
            subcategory="{study}",
            labels={"what": "every pair of models, between splits"},
        ),
        ranking=report(
            paths.analysis("statistics/ranking"),
            caption="../../report/captions/statistics.rst",
            category="Significance",
            subcategory="{study}",
            labels={"what": "ranking with significance groups"},
        ),
        cochran=report(
            paths.analysis("statistics/cochran"),
            caption="../../report/captions/statistics.rst",
            category="Significance",
            subcategory="{study}",
            labels={"what": "Cochran's Q"},
        ),
        resampled_t=paths.analysis("statistics/resampled_t"),
        costs=report(
            paths.analysis("statistics/costs"),
            caption="../../report/captions/costs.rst",
            category="Cost",
            subcategory="{study}",
            labels={"what": "time, memory and passes"},
        ),
        ledger=report(
            paths.analysis("ledger"),
            caption="../../report/captions/ledger.rst",
            category="Reported vs reproduced",
            subcategory="{study}",
            labels={"what": "ledger"},
        ),
        checks=report(
            paths.analysis("checks"),
            caption="../../report/captions/checks.rst",
            category="Can the evaluation be trusted?",
            subcategory="{study}",
            labels={"what": "checks"},
        ),
        headline=paths.analysis("headline"),
        markdown=[paths.analysis(place, "md") for place in paths.ANALYSES],
        latex=[paths.analysis(place, "tex") for place in paths.ANALYSES],
        stored=[paths.analysis(place, "json") for place in paths.ANALYSES],
        provenance=paths.PROVENANCE,
    log:
        paths.log("analyse_study", "{study}"),
    benchmark:
        paths.benchmark("analyse_study", "{study}")
    localrule: AT_HOME
    conda:
        "../../envs/analysis.yaml"
    resources:
        # Rows of one model at a time; of five models, 60 bytes for each row that takes 12 on disk.
        mem_mb=memory(500, 10),
        runtime=20,
    params:
        study=lambda w: PLAN.brief(w.study).to_json(),
        manifest=lambda w: PLAN.manifest(w.study).to_json(),
        code=digest("analyse_study"),
    script:
        "../scripts/analyse_study.py"


rule draw_study:
    """All tables and figures of one study, in one process."""
    input:
        statistics=STATISTICS,
        kept=rules.keep_outcomes.output,
        reported=lambda w: at_home(PLAN.reported_files(w.study)),
        style=local(from_here(resource("report/assay.mplstyle"))),
    output:
        temp(local(directory(paths.DRAWN))),
    log:
        paths.log("draw_study", "{study}"),
    benchmark:
        paths.benchmark("draw_study", "{study}")
    localrule: AT_HOME
    conda:
        "../../envs/analysis.yaml"
    resources:
        # Tables of defects read some columns of the outcomes; figures the features of one split.
        mem_mb=memory(800, 5),
        runtime=20,
    params:
        study=lambda w: PLAN.brief(w.study).to_json(),
        manifest=lambda w: PLAN.manifest(w.study).to_json(),
        code=lambda w: digest("draw_study", *PLAN.kinds(w.study)),
    script:
        "../scripts/draw_study.py"


rule make_table:
    """One table of a study as CSV, Markdown, LaTeX and JSON."""
    input:
        local(paths.DRAWN),
    output:
        csv=report(
            paths.table("csv"),
            caption="../../report/captions/table.rst",
            category="Robustness",
            subcategory="{study}",
            labels={"what": "{table}"},
        ),
        markdown=paths.table("md"),
        latex=paths.table("tex"),
        stored=paths.table("json"),
    log:
        paths.log("make_table", "{study}/{table}"),
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        drawn=lambda w, input: f"{input[0]}/tables/{w.table}",
        spec=lambda w: PLAN.studies[w.study].study["tables"][w.table],  # for the caption
    shell:
        """
        if cat {params.drawn:q}.error 2>/dev/null | tee {log:q} >&2; then exit 1; fi
        cp {params.drawn:q}.csv {output.csv:q}
        cp {params.drawn:q}.md {output.markdown:q}
        cp {params.drawn:q}.tex {output.latex:q}
        cp {params.drawn:q}.json {output.stored:q}
        """


rule make_figure:
    """One figure of a study as SVG and PDF, with its caption."""
    input:
        local(paths.DRAWN),
    output:
        svg=report(
            paths.figure("svg"),
            caption="../../report/captions/figure.rst",
            category="Robustness",
            subcategory="{study}",
            labels={"what": "{figure}"},
        ),
        pdf=paths.figure("pdf"),
        caption=paths.figure("txt"),
    log:
        paths.log("make_figure", "{study}/{figure}"),
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        drawn=lambda w, input: f"{input[0]}/figures/{w.figure}",
        spec=lambda w: PLAN.studies[w.study].study["figures"][w.figure],  # for the caption
    shell:
        """
        if cat {params.drawn:q}.error 2>/dev/null | tee {log:q} >&2; then exit 1; fi
        cp {params.drawn:q}.svg {output.svg:q}
        cp {params.drawn:q}.pdf {output.pdf:q}
        cp {params.drawn:q}.txt {output.caption:q}
        """
