# inputs    data, split and trained weights
# outputs   results/{scale}/outcomes/{dataset}/{split}/{model}/{suite}.parquet, .examples.npz, .adversarials.npz;
#           results/{scale}/measurements/{dataset}/{split}/{model}/{measurement}.npz
# steps     one job runs one suite on one model, or makes one measurement; finished chunks are kept in results/{scale}/work/, where jobs of
#           rule run_share may have put them before (--set-scatter share=N)


rule run_suite:
    """Attack one trained model with one suite; one row per sample, attack and epsilon."""
    input:
        images=rules.prepare_dataset.output.images,
        samples=rules.prepare_dataset.output.samples,
        dataset=rules.prepare_dataset.output.facts,
        masks=rules.prepare_dataset.output.masks,
        split=rules.make_split.output.split,
        weights=lambda w: PLAN.weights(w.dataset, w.split, w.model),
        shares=shares,
    output:
        outcomes=paths.OUTCOMES,
        examples=paths.EXAMPLES,
        adversarials=paths.ADVERSARIALS,
    log:
        paths.log("run_suite", paths.SUITE_ID),
    benchmark:
        paths.benchmark("run_suite", paths.SUITE_ID)
    conda:
        "../../envs/torch.yaml"
    threads: SETTINGS["threads"]
    resources:
        mem_mb=6000,  # a network and one cache-sized batch with its candidates
        gpu=GPUS,
        runtime=480,
    params:
        work=lambda w: paths.work("run_suite", paths.SUITE_ID, **w),
        entry=lambda w: PLAN.model(w.dataset, w.model),
        attacks=lambda w: PLAN.suite(w.suite, w.dataset, w.model),
        evaluation=lambda w: PLAN.evaluation(w.dataset, w.split, w.model),
        seed=PLAN.seed,
        code=lambda w: digest(
            "run_suite", PLAN.entry("models", w.model)["implementation"]
        ),
    script:
        "../scripts/run_suite.py"


use rule run_suite as run_share with:
    """Attack one trained model with one suite on a share of the images."""
    input:
        images=rules.prepare_dataset.output.images,
        samples=rules.prepare_dataset.output.samples,
        dataset=rules.prepare_dataset.output.facts,
        masks=rules.prepare_dataset.output.masks,
        split=rules.make_split.output.split,
        weights=lambda w: PLAN.weights(w.dataset, w.split, w.model),
    output:
        temp(paths.SHARE),
    log:
        paths.log("run_share", f"{paths.SUITE_ID}.{{scatteritem}}"),
    benchmark:
        paths.benchmark("run_share", f"{paths.SUITE_ID}.{{scatteritem}}")


rule measure_model:
    """One measurement of one trained model: arrays for figures, tables and checks."""
    input:
        images=rules.prepare_dataset.output.images,
        samples=rules.prepare_dataset.output.samples,
        dataset=rules.prepare_dataset.output.facts,
        masks=rules.prepare_dataset.output.masks,
        split=rules.make_split.output.split,
        weights=lambda w: PLAN.weights(w.dataset, w.split, w.model),
        examples=lambda w: PLAN.example_files(
            w.dataset, w.split, w.model, w.measurement
        ),
        files=lambda w: at_home(PLAN.files_of([w.measurement])),
    output:
        paths.MEASUREMENT,
    log:
        paths.log("measure_model", paths.MEASUREMENT_ID),
    benchmark:
        paths.benchmark("measure_model", paths.MEASUREMENT_ID)
    conda:
        "../../envs/torch.yaml"
    threads: SETTINGS["threads"]
    resources:
        mem_mb=4000,  # a network, the test images and what is measured of them
        gpu=GPUS,
        runtime=120,
    params:
        entry=lambda w: PLAN.model(w.dataset, w.model),
        measurement=lambda w: PLAN.measurement(w.measurement),
        reads=lambda w: PLAN.reads(w.dataset, w.split, w.model, w.measurement),
        evaluation=PLAN.configuration.scale["evaluation"],
        seed=PLAN.seed,
        code=lambda w: digest(
            "measure_model",
            *PLAN.measuring_code(w.dataset, w.split, w.model, w.measurement),
        ),
    script:
        "../scripts/measure_model.py"
