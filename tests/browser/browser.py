"""A headless Chromium, driven over its DevTools pipe."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
WAIT_S = 60.0


class BrowserError(Exception):
    """Chromium answered with an error, threw an exception, or did not answer in time."""


class Page:
    """One tab: commands go in, events of the console and the network are kept.

    Attributes:
        problems: texts of console errors, warnings and uncaught exceptions.
        requests: addresses of everything that the page asked for, data addresses left out.
    """

    def __init__(self, to_browser: int, from_browser: int):
        self._to, self._from = to_browser, from_browser
        self._buffer, self._last, self._session = b"", 0, None
        self.problems: list[str] = []
        self.requests: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        """Ends the browser, which no tab is asked for."""
        self._session = None
        self.send("Browser.close")

    def open(self, path: Path, *, width: int = 1280, dark: bool = False) -> None:
        """Loads a file in a window `width` pixels wide and waits until it is complete."""
        self.look(width=width, dark=dark)
        address = path.resolve().as_uri()
        failed = self.send("Page.navigate", url=address).get("errorText")
        if failed:
            raise BrowserError(f"{address}: {failed}")
        end = time.monotonic() + WAIT_S
        while self.evaluate("[location.href, document.readyState]") != [address, "complete"]:
            if time.monotonic() > end:
                raise BrowserError(f"{address} does not finish loading")
            time.sleep(0.02)

    def look(self, *, width: int, dark: bool = False) -> None:
        """Changes the window's width in CSS pixels and the reader's colour scheme."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def javascript(self, enabled: bool) -> None:
        """Switches the scripts of pages loaded from now on on or off."""
        self.send("Emulation.setScriptExecutionDisabled", value=not enabled)

    def evaluate(self, expression: str) -> Any:
        """The JSON-like value of a JavaScript expression; promises are awaited."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise BrowserError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Presses and releases a key, named as in KeyboardEvent.key."""
        codes = {"Tab": 9, "Enter": 13, "ArrowRight": 39}
        code = codes[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent",
                type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text,
            )  # fmt: skip

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Writes a PNG of the window, or of the whole page."""
        answer = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def pixels(self, left: float, top: float, width: float, height: float) -> np.ndarray:
        """(height, width, 3) what is shown in a rectangle of the page, 0 to 255."""
        clip = {"x": left, "y": top, "width": width, "height": height, "scale": 1}
        answer = self.send("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        with Image.open(io.BytesIO(base64.b64decode(answer["data"]))) as image:
            return np.asarray(image.convert("RGB"))

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a DevTools command and returns its result.

        Raises:
            BrowserError: the command failed or was not answered within a minute.
        """
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answer: dict[str, Any] = {}
        while answer.get("id") != self._last:
            answer = self._message()
            if "method" in answer:
                self._note(answer["method"], answer["params"])
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _message(self) -> dict[str, Any]:
        """The next answer or event; messages end with a zero byte."""
        end = time.monotonic() + WAIT_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise BrowserError("Chromium does not answer")
            part = os.read(self._from, 1 << 20)
            if not part:
                raise BrowserError("Chromium has ended")
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)

    def _note(self, method: str, event: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            url = event["request"]["url"]
            if not url.startswith("data:"):
                self.requests.append(url)
        elif method == "Runtime.exceptionThrown":
            self.problems.append(event["exceptionDetails"]["text"])
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning"):
            self.problems.append(" ".join(str(a.get("value", a)) for a in event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
            self.problems.append(event["entry"]["text"])


@contextmanager
def chromium() -> Iterator[Page]:
    """Starts Chromium with a fresh profile, gives one page, and ends it again."""
    profile = tempfile.mkdtemp(prefix="assay-chromium-")
    browser_reads, we_write = os.pipe()
    we_read, browser_writes = os.pipe()

    def descriptors() -> None:
        # Chromium reads commands from descriptor 3 and writes answers to 4. Both are first moved
        # out of the way, because one of them may be 3 or 4 already.
        moved = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (browser_reads, browser_writes)]
        for number, fd in zip((3, 4), moved, strict=True):
            os.dup2(fd, number)

    process = subprocess.Popen(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}"],
        preexec_fn=descriptors,
        pass_fds=(3, 4),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(browser_reads)
    os.close(browser_writes)
    try:
        page = Page(we_write, we_read)
        yield page
        page.close()
        with suppress(subprocess.TimeoutExpired):  # it is killed below
            process.wait(timeout=10)
    finally:
        process.kill()
        process.wait()
        os.close(we_write)
        os.close(we_read)
        shutil.rmtree(profile, ignore_errors=True)
