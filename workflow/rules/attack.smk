# inputs    data, split and trained weights
# outputs   results/{scale}/outcomes/{dataset}/{split}/{model}/{suite}.parquet, .examples.npz, .adversarials.npz;
#           results/{scale}/features/{dataset}/{split}/{model}.npz, reconstructions/{dataset}/{split}/{model}.npz,
#           saliency/{dataset}/{split}/{model}.npz, importance/{dataset}/{split}/{model}.npz
# steps     one job runs one suite on one model; finished chunks are kept in results/{scale}/work/, where jobs of
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


rule extract_features:
    """Latent features of the evaluated test images, for projections."""
    input:
        images=rules.prepare_dataset.output.images,
        samples=rules.prepare_dataset.output.samples,
        dataset=rules.prepare_dataset.output.facts,
        masks=rules.prepare_dataset.output.masks,
        split=rules.make_split.output.split,
        weights=lambda w: PLAN.weights(w.dataset, w.split, w.model),
    output:
        paths.FEATURES,
    log:
        paths.log("extract_features", paths.NETWORK_ID),
    benchmark:
        paths.benchmark("extract_features", paths.NETWORK_ID)
    conda:
        "../../envs/torch.yaml"
    threads: SETTINGS["threads"]
    resources:
        mem_mb=4000,  # a network and the features of the test images
        gpu=GPUS,
        runtime=60,
    params:
        entry=lambda w: PLAN.model(w.dataset, w.model),
        evaluation=PLAN.configuration.scale["evaluation"],
        seed=PLAN.seed,
        code=lambda w: digest(
            "extract_features", PLAN.entry("models", w.model)["implementation"]
        ),
    script:
        "../scripts/extract_features.py"


rule reconstruct_examples:
    """Reconstructions of example images before and after attacks, and certified radii."""
    input:
        images=rules.prepare_dataset.output.images,
        samples=rules.prepare_dataset.output.samples,
        dataset=rules.prepare_dataset.output.facts,
        masks=rules.prepare_dataset.output.masks,
        split=rules.make_split.output.split,
        weights=lambda w: PLAN.weights(w.dataset, w.split, w.model),
        examples=lambda w: PLAN.example_files(w.dataset, w.split, w.model),
    output:
        paths.RECONSTRUCTIONS,
    log:
        paths.log("reconstruct_examples", paths.NETWORK_ID),
    benchmark:
        paths.benchmark("reconstruct_examples", paths.NETWORK_ID)
    conda:
        "../../envs/torch.yaml"
    threads: SETTINGS["threads"]
    resources:
        mem_mb=4000,  # a network and the reconstructions of its candidates
        gpu=GPUS,
        runtime=120,
    params:
        entry=lambda w: PLAN.model(w.dataset, w.model),
        evaluation=PLAN.configuration.scale["evaluation"],
        example_attacks=lambda w: PLAN.example_attacks(w.dataset, w.split, w.model),
        seed=PLAN.seed,
        code=lambda w: digest(
            "reconstruct_examples", PLAN.entry("models", w.model)["implementation"]
        ),
    script:
        "../scripts/reconstruct_examples.py"


rule examine_importance:
    """Effective sample sizes of a model that uses importance sampling for its prediction."""
    input:
        images=rules.prepare_dataset.output.images,
        samples=rules.prepare_dataset.output.samples,
        dataset=rules.prepare_dataset.output.facts,
        masks=rules.prepare_dataset.output.masks,
        split=rules.make_split.output.split,
        weights=lambda w: PLAN.weights(w.dataset, w.split, w.model),
    output:
        paths.IMPORTANCE,
    log:
        paths.log("examine_importance", paths.NETWORK_ID),
    benchmark:
        paths.benchmark("examine_importance", paths.NETWORK_ID)
    conda:
        "../../envs/torch.yaml"
    threads: SETTINGS["threads"]
    resources:
        mem_mb=4000,  # a network and a batch of decodings
        gpu=GPUS,
        runtime=60,
    params:
        entry=lambda w: PLAN.model(w.dataset, w.model),
        evaluation=PLAN.configuration.scale["evaluation"],
        seed=PLAN.seed,
        code=lambda w: digest(
            "examine_importance", PLAN.entry("models", w.model)["implementation"]
        ),
    script:
        "../scripts/examine_importance.py"


rule map_saliency:
    """Saliency maps and features of test images, unperturbed and attacked."""
    input:
        images=rules.prepare_dataset.output.images,
        samples=rules.prepare_dataset.output.samples,
        dataset=rules.prepare_dataset.output.facts,
        masks=rules.prepare_dataset.output.masks,
        split=rules.make_split.output.split,
        weights=lambda w: PLAN.weights(w.dataset, w.split, w.model),
    output:
        paths.SALIENCY,
    log:
        paths.log("map_saliency", paths.NETWORK_ID),
    benchmark:
        paths.benchmark("map_saliency", paths.NETWORK_ID)
    conda:
        "../../envs/torch.yaml"
    threads: SETTINGS["threads"]
    resources:
        mem_mb=4000,  # a network, the test images and their attacked versions
        gpu=GPUS,
        runtime=120,
    params:
        entry=lambda w: PLAN.model(w.dataset, w.model),
        attack=lambda w: PLAN.saliency_targets(w.dataset, w.split, w.model).attack,
        epsilons=lambda w: PLAN.saliency_targets(w.dataset, w.split, w.model).epsilons,
        evaluation=PLAN.configuration.scale["evaluation"],
        seed=PLAN.seed,
        code=lambda w: digest(
            "map_saliency",
            PLAN.entry("models", w.model)["implementation"],
            PLAN.saliency_targets(w.dataset, w.split, w.model).attack[
                "implementation"
            ],
        ),
    script:
        "../scripts/map_saliency.py"
