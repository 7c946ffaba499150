"""Evaluates one trained model with all its suites and measurements, in one process.

Each task is the script of another rule. Where one fails, the others still finish their chunks.
"""

import logging
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.foundation.errors import AssayError
    from assay.foundation.resources import resource

    folder, errors = Path(snakemake.output[0]), []
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("suites", "measurements"):
        (folder / part).mkdir(parents=True)
    for task in snakemake.params.tasks:
        outputs = task["output"]
        places = [str(folder / place) for place in outputs]
        if isinstance(outputs, dict):
            named = {name: str(folder / place) for name, place in outputs.items()}
            places = SimpleNamespace(**named)
        examples = [str(folder / place) for place in task["examples"]]
        job = SimpleNamespace(
            input=SimpleNamespace(**dict(snakemake.input.items()), examples=examples),
            output=places,
            params=SimpleNamespace(**task["params"]),
            wildcards=SimpleNamespace(**task["wildcards"], scale=snakemake.wildcards.scale),
            threads=snakemake.threads,
            config=snakemake.config,
        )
        what = " ".join((task["script"], *task["wildcards"].values()))
        logging.getLogger("assay").info("%s", what)
        script = runpy.run_path(str(resource(f"workflow/scripts/{task['script']}.py")))
        try:
            script["main"](job)
        except AssayError as error:
            logging.getLogger("assay").warning("%s: %s", what, error)
            errors.append(error)
    if errors:
        raise errors[0]


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
