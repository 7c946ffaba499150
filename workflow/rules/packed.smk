# In place of attack.smk at scales of small models (job_per: model), where most of a job is its start.
#
# inputs    data, split and trained weights
# outputs   those of attack.smk: outcomes with examples, measurements
# steps     one job evaluates one model with all its suites and measurements, each by the script of its rule in
#           attack.smk, into results/{scale}/evaluated/ -> each result to its place


rule evaluate_model:
    """All suites and measurements of one trained model, in one process."""
    input:
        images=rules.prepare_dataset.output.images,
        samples=rules.prepare_dataset.output.samples,
        dataset=rules.prepare_dataset.output.facts,
        masks=rules.prepare_dataset.output.masks,
        split=rules.make_split.output.split,
        weights=lambda w: PLAN.weights(w.dataset, w.split, w.model),
        files=lambda w: at_home(
            PLAN.files_of(PLAN.measured_of(w.dataset, w.split, w.model))
        ),
    output:
        temp(directory(paths.EVALUATED)),
    log:
        paths.log("evaluate_model", paths.NETWORK_ID),
    benchmark:
        paths.benchmark("evaluate_model", paths.NETWORK_ID)
    conda:
        "../../envs/torch.yaml"
    threads: SETTINGS["threads"]
    resources:
        mem_mb=6000,  # a network and one cache-sized batch with its candidates
        gpu=GPUS,
        runtime=480,
    params:
        tasks=lambda w: tasks(PLAN, Training(w.dataset, w.split, w.model), digest),
        code=digest("evaluate_model"),
    script:
        "../scripts/evaluate_model.py"


rule run_suite:
    """One suite's outcomes: one row per sample, attack and epsilon."""
    input:
        rules.evaluate_model.output,
    output:
        outcomes=paths.OUTCOMES,
        examples=paths.EXAMPLES,
        adversarials=paths.ADVERSARIALS,
    log:
        paths.log("run_suite", paths.SUITE_ID),
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    shell:
        """
        cp {input:q}/suites/{wildcards.suite}.parquet {output.outcomes:q} 2>{log:q}
        cp {input:q}/suites/{wildcards.suite}.examples.npz {output.examples:q} 2>{log:q}
        cp {input:q}/suites/{wildcards.suite}.adversarials.npz {output.adversarials:q} 2>{log:q}
        """


rule measure_model:
    """One measurement: arrays for figures, tables and checks."""
    input:
        rules.evaluate_model.output,
    output:
        paths.MEASUREMENT,
    log:
        paths.log("measure_model", paths.MEASUREMENT_ID),
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    shell:
        "cp {input:q}/measurements/{wildcards.measurement}.npz {output:q} 2> {log:q}"
