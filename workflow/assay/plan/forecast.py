"""What a run will cost, estimated in advance: jobs, hours, disk, the most expensive cells.

Hours come from jobs that ran before, of any scale: from the benchmark files that Snakemake wrote
below ``results/``, and from the records that came with the project (`config/costs.csv`). What a
record says about one job is carried over to another by the work that the configuration gives to
both: images times epochs times passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from statistics import median

import pandas as pd

from assay.data.splits import share_of
from assay.foundation.entries import is_trained
from assay.foundation.errors import AssayError, ConfigError
from assay.foundation.files import read_json
from assay.foundation.outline import outline
from assay.foundation.provenance import read_provenance
from assay.plan import paths
from assay.plan.cells import Cell, Training
from assay.plan.configuration import read_configuration
from assay.plan.job_counts import job_counts
from assay.plan.layers import Layers
from assay.plan.plan import Plan, make_plan
from assay.plan.trainings import phases_of
from assay.plan.validation import Nested

COSTS = "config/costs.csv"
# Settings of attacks whose product is the number of passes, up to a factor.
_EFFORT = (
    "steps", "restarts", "eot_samples", "queries", "binary_steps", "population", "generations",
    "deviations", "directions",
)  # fmt: skip
# Images of a data set that neither a file nor the catalogue counts.
_UNCOUNTED = 10_000
# Bytes of an outcome row on disk, and of a network's two files where no record has any.
_ROW, _NETWORK = 60, 50 * 2**20
# Steps of an inner attack where an entry does not say.
INNER_STEPS = 10


@dataclass(frozen=True)
class Record:
    """What one job cost.

    Attributes:
        rule: ``train_model`` or ``run_suite``.
        dataset, model, suite: what it was about; a training has no suite.
        work: image passes that its configuration asked for.
        pixels: values of one image.
        seconds: wall time.
        device: where it ran.
    """

    rule: str
    dataset: str
    model: str
    suite: str
    work: float
    pixels: int
    seconds: float
    device: str


@dataclass(frozen=True)
class Job:
    """What one job is expected to cost.

    Attributes:
        rule, dataset, split, model, suite: which job.
        seconds: wall time; NaN where no record is of any use.
        basis: the records that it rests on: ``this job``, ``its suite``, ``its model``, or
            ``other models``, in falling order of trust.
    """

    rule: str
    dataset: str
    split: str
    model: str
    suite: str
    seconds: float
    basis: str


@dataclass(frozen=True)
class Forecast:
    """The expected cost of a plan.

    Attributes:
        jobs: number of jobs by rule, and of those of which every file is there already.
        costs: every training and every suite.
        bytes: on disk, by what they are.
        records: how many jobs that ran before it rests on.
        devices: where those ran.
        assumed: data sets whose number of images is a guess.
    """

    jobs: dict[str, tuple[int, int]]
    costs: tuple[Job, ...]
    bytes: dict[str, int]
    records: int
    devices: tuple[str, ...]
    assumed: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Of all trainings and suites in turn, without those that cannot be estimated."""
        return sum(job.seconds for job in self.costs if math.isfinite(job.seconds))


def forecast(plan: Plan, records: Iterable[Record], root: Path = Path()) -> Forecast:
    """What a plan will cost, by what other jobs have cost.

    Args:
        plan: the run table.
        records: of jobs that ran before.
        root: the folder that holds ``results/``.
    """
    sizes = Sizes(plan, root)
    records = tuple(records)
    guess = _Rates(records)
    costs = [
        Job("train_model", *item, "", *guess("train_model", *item, "", sizes))
        for item in plan.trainings
    ]
    costs += [Job("run_suite", *cell, *guess("run_suite", *cell, sizes)) for cell in plan.cells]
    return Forecast(
        job_counts(plan, root),
        tuple(sorted(costs, key=lambda job: -job.seconds if job.seconds > 0 else 0.0)),
        _disk(plan, sizes, root),
        len(records),
        tuple(sorted({record.device for record in records})),
        tuple(sorted(sizes.assumed)),
    )


class Sizes:
    """How many images jobs of one plan have to pass, and how large an image is.

    Attributes:
        assumed: data sets that nothing counts.
    """

    def __init__(self, plan: Plan, root: Path = Path()):
        self._plan, self._root = plan, root
        self.assumed: set[str] = set()
        self._images = cache(self._count)

    def pixels(self, dataset: str) -> int:
        """Values of one image; of a folder that nobody has looked into, of a grey one of 64x64."""
        return math.prod(self._entry(dataset)["shape"] or (1, 64, 64))

    def images(self, dataset: str) -> int:
        """How many images a data set has."""
        return self._images(dataset)

    def work(self, rule: str, dataset: str, split: str, model: str, suite: str) -> float:
        """Image passes of a job, up to a factor that is the same at every scale."""
        if rule == "train_model":
            return self._of_training(dataset, split, model)
        return self._of_suite(dataset, split, model, suite)

    def evaluated(self, dataset: str, split: str, attack: Nested) -> int:
        """How many images an attack is tried on."""
        caps = (self._plan.configuration.scale["evaluation"]["samples"], attack["samples"])
        there = self.images(dataset) * share_of(self._plan.scheme(split)[0], "test")
        return max(1, round(min(there, *(cap or math.inf for cap in caps))))

    def _of_training(self, dataset: str, split: str, model: str) -> float:
        entry = self._plan.model(dataset, model)
        training = entry["training"]
        if not is_trained(entry):
            return 1.0
        there = self.images(dataset) * share_of(self._plan.scheme(split)[0], "train")
        images = min(there, training["samples"] or math.inf)
        return images * sum(
            phase["epochs"] * (1 + (phase["adversary"] or {"steps": 0}).get("steps", INNER_STEPS))
            for phase in phases_of(training)
        )

    def _of_suite(self, dataset: str, split: str, model: str, suite: str) -> float:
        passes = 0.0
        for attack in self._plan.suite(suite, dataset, model):
            known = {**outline(attack["implementation"]).values, **attack["settings"]}
            efforts = [known.get(name) for name in _EFFORT]
            efforts = [value for value in efforts if isinstance(value, int) and value > 0]
            effort = sum(efforts) if known.get("adds_up") else math.prod(efforts)
            radii = 1 if known.get("is_minimum_norm") else len(attack["epsilons"])
            passes += self.evaluated(dataset, split, attack) * radii * (1 + effort)
        return passes

    def _entry(self, dataset: str) -> Nested:
        return self._plan.configuration.catalogue["datasets"][dataset]

    def _count(self, dataset: str) -> int:
        facts = paths.at(paths.DATASET_FACTS, scale=self._plan.scale, dataset=dataset)
        path = self._root / facts
        if path.is_file():
            return int(read_json(path)["counts"]["images"])
        entry = self._entry(dataset)
        counted = [
            max((copy.get("images") or 0 for copy in file["copies"]), default=0)
            for file in entry["files"]
        ]
        if entry["kind"] == "phantom":
            settings = entry["settings"]
            counted.append(
                len(entry["classes"])
                * settings["patients_per_class"]
                * settings["images_per_patient"]
            )
        if not sum(counted):
            self.assumed.add(dataset)
        return sum(counted) or _UNCOUNTED


class _Rates:
    """Seconds per image pass, from the records that are nearest to a job."""

    def __init__(self, records: tuple[Record, ...]):
        # What every job of a rule needs before its first pass.
        self._start = {
            rule: min((record.seconds for record in records if record.rule == rule), default=0.0)
            for rule in ("train_model", "run_suite")
        }
        self._rates: dict[tuple, list[float]] = {}
        for record in records:
            per_pass = max(record.seconds - self._start[record.rule], 0.1) / record.work
            per_value = per_pass / record.pixels
            head = (record.rule,)
            for key, rate in (
                ((*head, record.dataset, record.model, record.suite), per_pass),
                ((*head, record.model, record.suite), per_value),
                ((*head, record.model), per_value),
                (head, per_value),
            ):
                self._rates.setdefault(key, []).append(rate)

    def __call__(
        self, rule: str, dataset: str, split: str, model: str, suite: str, sizes: Sizes
    ) -> tuple[float, str]:
        work = sizes.work(rule, dataset, split, model, suite)
        return self.of(rule, dataset, model, suite, work, sizes.pixels(dataset))

    def of(
        self, rule: str, dataset: str, model: str, suite: str, work: float, pixels: int
    ) -> tuple[float, str]:
        """Seconds of a job of so much work, and what they rest on."""
        scaled = work * pixels
        for key, amount, basis in (
            ((rule, dataset, model, suite), work, "this job"),
            ((rule, model, suite), scaled, "its suite"),
            ((rule, model), scaled, "its model"),
            ((rule,), scaled, "other models"),
        ):
            if key in self._rates:
                return self._start[rule] + amount * median(self._rates[key]), basis
        return math.nan, "nothing"


def compared(records: Iterable[Record]) -> pd.DataFrame:
    """What each recorded job would have been said to cost by all jobs of other kinds.

    A kind is a data set, a model and a suite. Returns the records' columns ``rule``, ``dataset``,
    ``model``, ``suite`` and ``seconds``, with ``expected`` and the ``basis`` of the expectation.
    """
    records = tuple(records)
    rows = []
    for kind in dict.fromkeys(map(_kind, records)):
        guess = _Rates(tuple(record for record in records if _kind(record) != kind))
        for record in records:
            if _kind(record) == kind:
                expected, basis = guess.of(*kind, record.work, record.pixels)
                rows.append((*kind, record.seconds, expected, basis))
    names = ["rule", "dataset", "model", "suite", "seconds", "expected", "basis"]
    return pd.DataFrame(rows, columns=names)


def _kind(record: Record) -> tuple[str, str, str, str]:
    return record.rule, record.dataset, record.model, record.suite


def recorded(layers: Layers) -> Iterator[Record]:
    """What the jobs below ``results/`` cost, of all scales that are still configured.

    A job whose entry has changed since is taken at what the configuration says now.
    """
    for folder in sorted(layers.user.glob(paths.at(paths.RESULTS, scale="*"))):
        scale = folder.name
        studies = layers.names("config/studies")
        try:
            plan = make_plan(read_configuration({"scale": scale, "studies": studies}, layers))
        except ConfigError:
            continue
        sizes = Sizes(plan, layers.user)
        for rule, jobs in (("train_model", plan.trainings), ("run_suite", plan.cells)):
            for job in jobs:
                if record := _record(rule, job, sizes, scale, layers.user):
                    yield record


def _record(rule: str, job: Training | Cell, sizes: Sizes, scale: str, root: Path) -> Record | None:
    ids = {"scale": scale, **job._asdict()}
    of_suite = isinstance(job, Cell)
    about = paths.SUITE_ID if of_suite else paths.NETWORK_ID
    benchmark = root / paths.at(paths.benchmark(rule, about), **ids)
    suite = job.suite if of_suite else ""
    made = root / paths.at(paths.OUTCOMES if of_suite else paths.MODEL_FACTS, **ids)
    try:
        facts = read_provenance(made)
    except AssayError:
        return None
    # Of a suite that shared its job with others, or was shared by jobs, only the file itself says
    # what it took.
    seconds = float(facts.get("seconds") or 0)
    if benchmark.is_file():
        measured = pd.read_csv(benchmark, sep="\t", na_values=["-", "NA"]).iloc[-1]
        seconds = max(seconds, float(measured["s"]))
    return Record(
        rule,
        job.dataset,
        job.model,
        suite,
        sizes.work(rule, job.dataset, job.split, job.model, suite),
        sizes.pixels(job.dataset),
        seconds,
        str(facts.get("device") or "unknown").partition(":")[0],
    )


def read_costs(path: Path) -> list[Record]:
    """Records from a table that :func:`write_costs` made; none where there is no such file.

    Raises:
        ConfigError: the table lacks a column.
    """
    if not path.is_file():
        return []
    table = pd.read_csv(path, keep_default_na=False)
    wanted = [field.name for field in fields(Record)]
    if missing := [name for name in wanted if name not in table]:
        raise ConfigError(
            f"there is no column '{missing[0]}'",
            where=path,
            remedy="write the file again with --record",
        )
    return [Record(**row) for row in table[wanted].to_dict("records")]


def write_costs(records: Iterable[Record], path: Path) -> int:
    """Writes one line per kind of job, the median over its splits; returns how many."""
    table = pd.DataFrame([asdict(record) for record in records])
    if table.empty:
        return 0
    kind = ["rule", "dataset", "model", "suite", "device"]
    table = table.groupby(kind, as_index=False).median(numeric_only=True)
    table = table[[field.name for field in fields(Record)]].round(1)
    table["pixels"] = table["pixels"].astype(int)
    table.to_csv(path, index=False)
    return len(table)


def _disk(plan: Plan, sizes: Sizes, root: Path) -> dict[str, int]:
    """Bytes that the run leaves, by what they are."""
    weights = {
        path.parent.name: path.stat().st_size
        for path in root.glob(paths.at(paths.WEIGHTS, scale="*", dataset="*", split="*", model="*"))
    }
    rows = examples = adversarials = 0
    # At most: as many as are misclassified are kept, or all.
    keeps = plan.configuration.scale["evaluation"]["keep_adversarials"] != "none"
    for cell in plan.cells:
        kept = plan.evaluation(cell.dataset, cell.split, cell.model)["examples"]
        for attack in plan.suite(cell.suite, cell.dataset, cell.model):
            radii = len(attack["epsilons"])
            images = sizes.evaluated(cell.dataset, cell.split, attack)
            classes = len(plan.configuration.catalogue["datasets"][cell.dataset]["classes"] or ())
            rows += images * radii * (_ROW + 4 * classes)
            adversarials += keeps * images * radii * 4 * sizes.pixels(cell.dataset)
            examples += min(kept, images) * radii * 2 * sizes.pixels(cell.dataset)
    return {
        "prepared images": sum(
            sizes.images(name) * sizes.pixels(name)
            for name in {cell.dataset for cell in plan.cells}
        ),
        # The best and the last weights, and the last checkpoint with both.
        "networks": sum(4 * weights.get(item.model, _NETWORK // 4) for item in plan.trainings),
        # Once as chunks, once as a whole.
        "outcomes": 2 * rows,
        "example images": 2 * examples,
        **({"adversarial images": 2 * adversarials} if keeps else {}),
    }
