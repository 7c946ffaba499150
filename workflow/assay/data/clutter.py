"""What systems and programs leave among a user's files: thumbnails, checkpoints, bins, indices."""

from __future__ import annotations

from pathlib import PurePosixPath

# In lower case; whatever starts with a dot (.DS_Store, .ipynb_checkpoints, .Trash-1000, AppleDouble
# files) needs no entry.
NAMES = {
    "$recycle.bin", "recycler", "system volume information", "thumbs.db", "ehthumbs.db",
    "desktop.ini",  # Windows
    "__macosx", "icon\r",  # macOS
    "lost+found", "__pycache__",
    "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot",  # Synology, QNAP
    "dicomdir",  # the index of a PACS export
}  # fmt: skip


def is_clutter(path: str) -> bool:
    """Whether any part of a path is hidden or belongs to a system, not to the user.

    Args:
        path: relative, with forward slashes.

    Example:
        >>> is_clutter("ill/.ipynb_checkpoints/1.png"), is_clutter("ill/1.png")
        (True, False)
    """
    parts = PurePosixPath(path).parts
    return any(part.startswith(".") or part.lower() in NAMES for part in parts)
