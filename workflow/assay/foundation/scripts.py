"""What every rule's script does first: route its log, and speak to people when it fails."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assay.foundation.errors import AssayError


class _Tee:
    """Writes to the job's log and, on a terminal, to the terminal too."""

    def __init__(self, log, terminal):
        self._log, self._terminal = log, terminal

    def write(self, text: str) -> int:
        self._log.write(text)
        if self._terminal.isatty():
            self._terminal.write(text)
        return len(text)

    def flush(self) -> None:
        self._log.flush()
        self._terminal.flush()

    def isatty(self) -> bool:
        return self._terminal.isatty()

    def fileno(self) -> int:
        return self._log.fileno()


@contextmanager
def script_log(path: Path | str) -> Iterator[logging.Logger]:
    """Routes a script's output to its log file.

    Progress bars also reach a terminal. A user's mistake (:class:`AssayError`) ends the process
    with exit code 1 and one line, in the log and on standard error, without a traceback; any other
    failure keeps its traceback in the log and puts its last line on standard error.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    terminal, output = sys.stderr, sys.stdout
    with path.open("w", encoding="utf-8", buffering=1) as log:
        sys.stderr = _Tee(log, terminal)
        sys.stdout = log
        logging.captureWarnings(True)
        # Others' libraries report what they do in hundreds of lines; assay's own in few.
        logging.basicConfig(
            stream=log,
            level=logging.WARNING,
            force=True,
            format="%(asctime)s %(levelname)s %(message)s",
        )
        logging.getLogger("assay").setLevel(logging.INFO)
        try:
            yield logging.getLogger("assay")
        except AssayError as error:
            log.write(f"error: {error}\n")
            terminal.write(f"error: {error}\n")
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            log.write("interrupted; finished work is kept, run the same command to go on\n")
            raise SystemExit(130) from None
        except Exception as error:
            log.write(traceback.format_exc())
            terminal.write(f"error: {type(error).__name__}: {error} (see {path})\n")
            raise SystemExit(1) from None
        finally:
            sys.stderr, sys.stdout = terminal, output
