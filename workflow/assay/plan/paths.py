"""Where every file of a run is: the only home of result paths.

A path consists of ids. Rules use the templates as they are, with wildcards; the plan fills them
with :func:`at`. Templates are relative to the working folder.
"""

from __future__ import annotations

# What files are about: a data set on one split, a trained network, a suite on it, or a measurement.
SPLIT_ID = "{dataset}/{split}"
NETWORK_ID = f"{SPLIT_ID}/{{model}}"
SUITE_ID = f"{NETWORK_ID}/{{suite}}"
MEASUREMENT_ID = f"{NETWORK_ID}/{{measurement}}"

RESULTS = "results/{scale}"
REPORT = "report/{scale}"

_DATASET = f"{RESULTS}/data/{{dataset}}"
IMAGES = f"{_DATASET}/images.npy"
SAMPLES = f"{_DATASET}/samples.parquet"
DATASET_FACTS = f"{_DATASET}/dataset.json"
MASKS = f"{_DATASET}/masks.npy"

SPLIT = f"{RESULTS}/splits/{SPLIT_ID}.parquet"
LEAKAGE = f"{RESULTS}/splits/{SPLIT_ID}.leakage.csv"
LEAKS = f"{RESULTS}/splits/{SPLIT_ID}.leaks.parquet"

PRETRAINED = f"{RESULTS}/pretrained/{{model}}.pth"
_MODEL = f"{RESULTS}/models/{NETWORK_ID}"
WEIGHTS = f"{_MODEL}/weights.safetensors"
LAST_WEIGHTS = f"{_MODEL}/last.safetensors"
HISTORY = f"{_MODEL}/history.csv"
CHECKED = f"{RESULTS}/checked/{{dataset}}/{{model}}.json"
MODEL_FACTS = f"{_MODEL}/model.json"

OUTCOMES = f"{RESULTS}/outcomes/{SUITE_ID}.parquet"
EXAMPLES = f"{RESULTS}/outcomes/{SUITE_ID}.examples.npz"
ADVERSARIALS = f"{RESULTS}/outcomes/{SUITE_ID}.adversarials.npz"
MEASUREMENT = f"{RESULTS}/measurements/{MEASUREMENT_ID}.npz"
# What one job leaves that evaluates a network with all its suites and measurements.
EVALUATED = f"{RESULTS}/evaluated/{NETWORK_ID}"

# Finished pieces of unfinished jobs; no rule declares them but the shares.
SHARE = f"{RESULTS}/work/shares/{SUITE_ID}.{{scatteritem}}"
_WORK = f"{RESULTS}/work/{{rule}}"

STUDY = f"{REPORT}/{{study}}"
KEPT_OUTCOMES = f"{STUDY}/outcomes.parquet"
KEPT_RECORDS = f"{STUDY}/records.json"
KEPT_MEASUREMENTS = f"{STUDY}/measurements.npz"
KEPT = (KEPT_OUTCOMES, KEPT_RECORDS, KEPT_MEASUREMENTS)
PROVENANCE = f"{STUDY}/provenance.json"
# The tables that every study has, by their places in its folder (`assay.report.tables.build`).
ANALYSES = (
    "statistics/accuracy",
    "statistics/mcnemar",
    "statistics/between_splits",
    "statistics/ranking",
    "statistics/cochran",
    "statistics/resampled_t",
    "statistics/costs",
    "ledger",
    "checks",
    "headline",
)
# The last is what the page reads.
TABLE_FORMATS = ("csv", "md", "tex", "json")
FIGURE_FORMATS = ("svg", "pdf")
# The tables and figures of one study, as one job draws them.
DRAWN = f"{RESULTS}/drawn/{{study}}"
PAGE = f"{REPORT}/index.html"


def analysis(place: str, form: str = "csv") -> str:
    """The template of one of :data:`ANALYSES`.

    Example:
        >>> analysis("ledger")
        'report/{scale}/{study}/ledger.csv'
    """
    return f"{STUDY}/{place}.{form}"


def table(form: str) -> str:
    """The template of a study's table in one of :data:`TABLE_FORMATS`."""
    return f"{STUDY}/tables/{{table}}.{form}"


def figure(form: str) -> str:
    """The template of a study's figure in one of :data:`FIGURE_FORMATS`, or of its caption."""
    return f"{STUDY}/figures/{{figure}}.{form}"


def log(rule: str, of: str) -> str:
    """The template of a rule's log.

    Args:
        rule: its name.
        of: what a job of it is about: ids with wildcards.

    Example:
        >>> log("prepare_dataset", "{dataset}")
        'results/{scale}/logs/prepare_dataset/{dataset}.log'
    """
    return f"{RESULTS}/logs/{rule}/{of}.log"


def benchmark(rule: str, of: str) -> str:
    """The template of the file in which Snakemake measures a job of a rule, see :func:`log`."""
    return f"{RESULTS}/benchmarks/{rule}/{of}.tsv"


def work(rule: str, of: str, **ids: str) -> str:
    """The folder of a job's finished pieces: checkpoints and chunks.

    Args:
        rule: the rule of the job.
        of: what the job is about, see :func:`log`.
        **ids: the wildcards' values, and the scale.
    """
    return at(f"{_WORK}/{of}", rule=rule, **ids)


def at(template: str, **ids: str) -> str:
    """The path that a template stands for.

    Args:
        template: one of this module.
        **ids: a value for each of its wildcards; others are ignored.

    Example:
        >>> at(WEIGHTS, scale="demo", dataset="phantom", split="kfold_0", model="dbx", suite="")
        'results/demo/models/phantom/kfold_0/dbx/weights.safetensors'
    """
    return template.format(**ids)
