import subprocess
import sys
from pathlib import Path

WORKFLOW = Path(__file__).resolve().parents[3] / "workflow"
BLOCKED = """
import importlib, pkgutil, sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
import assay.analysis, assay.report
names = [
    module.name
    for package in (assay.analysis, assay.report)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def test_analysis_and_report_can_be_imported_where_torch_is_not_installed():
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED], cwd=WORKFLOW, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 60
