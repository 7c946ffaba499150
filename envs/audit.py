"""Whether the pinned packages have known vulnerabilities; part of ``make lint``.

Exit status 1 if one has. Where pip-audit's database cannot be reached, or knows none of the
packages (a mirror), that is said and nothing is decided.
"""

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).with_name("requirements.lock")
COMMAND = [
    *(sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--no-deps", "--disable-pip"),
    *("--format", "json", "--progress-spinner", "off", "--timeout", "5"),
]


def main() -> int:
    """Asks pip-audit; returns the exit status."""
    try:
        run = subprocess.run(COMMAND, capture_output=True, text=True, check=False, timeout=120)
        packages = json.loads(run.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        packages = []
    audited = [package for package in packages if "vulns" in package]
    if not audited:
        sys.stdout.write("audit of dependencies skipped: its database cannot be reached\n")
        return 0
    found = [
        f"{package['name']} {package['version']}: {flaw['id']}, "
        f"mended in {', '.join(flaw['fix_versions']) or 'no version'}\n"
        for package in audited
        for flaw in package["vulns"]
    ]
    sys.stdout.write(f"{len(audited)} of {len(packages)} packages audited\n")
    sys.stdout.writelines(found)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
