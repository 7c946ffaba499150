"""``python -m assay.plan.keys``: writes the schemas and the tables of keys."""

from __future__ import annotations

from assay.foundation.resources import resource
from assay.plan.keys import documents


def main() -> None:
    """Writes every file of :func:`assay.plan.keys.documents` that is not as it should be."""
    for name, text in documents().items():
        path = resource(name)
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
