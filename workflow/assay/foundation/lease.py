"""A device for each job: N jobs on one machine compute on N devices.

Snakemake counts GPUs but assigns none, so all local jobs would compute on the first one. Instead, a
job takes a device by an exclusive lock on a file that is named after it. The kernel frees the lock
when the process ends, however it ends, so there is nothing to clean up and no file is ever deleted.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from assay.foundation.errors import AssayError

log = logging.getLogger(__name__)


class Leases:
    """The devices that one process holds; the kernel knows processes, so each needs one of these.

    Example:
        >>> Leases().held
        ()
    """

    def __init__(self) -> None:
        # Descriptors of the locks. They stay open as long as the process lives.
        self._descriptors: dict[Path, int] = {}

    @property
    def held(self) -> tuple[str, ...]:
        """Names of the locks, in the order in which they were taken."""
        return tuple(file.name for file in self._descriptors)

    def lease(
        self, devices: Sequence[str], *, folder: Path | None = None, poll_s: float = 1.0
    ) -> int:
        """Takes a free device for the rest of this process; waits for one while all are taken.

        A process that asks again gets the device that it has.

        Args:
            devices: names of the devices, the same in all processes that share them, and different
                for different devices even where processes see different ones (as cluster jobs do).
            folder: where the locks lie; None: in the folder of temporary files, one per user, so
                that runs in several folders do not share one device.
            poll_s: seconds between two attempts while waiting.

        Returns:
            The index in `devices`.

        Raises:
            AssayError: the locks cannot be kept there.
        """
        folder = folder or Path(tempfile.gettempdir()) / f"assay-devices-{os.getuid()}"
        files = [folder / f"{quote(name, safe='')}.lock" for name in devices]
        waiting = False
        while True:
            # What this process has comes first, else asking twice would take two.
            mine = self._descriptors
            for index in sorted(range(len(files)), key=lambda index: files[index] not in mine):
                if files[index] in mine or self._take(files[index]):
                    log.info("computes on device %d of %d (%s)", index, len(files), devices[index])
                    return index
            if not waiting:
                log.info(
                    "waits for a free device: other jobs have all %d (processes %s)",
                    len(files),
                    ", ".join(_holder(file) for file in files),
                )
                waiting = True
            time.sleep(poll_s)

    def _take(self, file: Path) -> bool:
        """Whether the lock on `file` was free, and is now this process's."""
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # A POSIX lock: it belongs to this process alone, so that a child that outlives it
                # (a worker of a pool) does not keep the device. Closing any descriptor of the file
                # would free it, hence files that are held are never opened again.
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(descriptor)
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    return False
                raise
        except OSError as error:
            raise AssayError(
                f"the locks of devices cannot be kept ({error})",
                where=file.parent,
                remedy="let TMPDIR name a folder of yours, or choose the device: device=cuda:0",
            ) from error
        os.truncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._descriptors[file] = descriptor
        return True

    def release(self) -> None:
        """Gives all devices back before the process ends."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])


# The devices of this process.
process = Leases()


def _holder(file: Path) -> str:
    """The process that wrote itself into a lock file, for people to look up."""
    try:
        return file.read_text("ascii") or "unknown"
    except (OSError, ValueError):
        return "unknown"
