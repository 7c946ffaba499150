"""A headless Chromium, driven over its DevTools pipe with the standard library alone."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
WAIT_S = 30.0


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
        os.set_blocking(self._from, False)
        self._buffer, self._last, self._session = b"", 0, None
        self._loaded = False
        self.problems: list[str] = []
        self.requests: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def open(self, path: Path, *, width: int = 1280, dark: bool = False) -> None:
        """Loads a file in a window `width` pixels wide and waits until it is complete."""
        self.look(width=width, dark=dark)
        self._loaded = False
        self.send("Page.navigate", url=path.resolve().as_uri())
        self._read(lambda: self._loaded)

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

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a DevTools command and returns its result.

        Raises:
            BrowserError: the command failed or was not answered within half a minute.
        """
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answer: dict[str, Any] = {}
        self._read(lambda: answer, wanted=self._last, into=answer)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _read(self, done, *, wanted: int | None = None, into: dict | None = None) -> None:
        """Reads messages until `done()`; notes events, puts the answer to `wanted` into `into`."""
        end = time.monotonic() + WAIT_S
        while not done():
            while b"\0" not in self._buffer:
                if time.monotonic() > end:
                    raise BrowserError("Chromium does not answer")
                try:
                    part = os.read(self._from, 1 << 20)
                except BlockingIOError:
                    time.sleep(0.005)
                    continue
                if not part:
                    raise BrowserError("Chromium has ended")
                self._buffer += part
            text, _, self._buffer = self._buffer.partition(b"\0")
            message = json.loads(text)
            if wanted is not None and message.get("id") == wanted:
                into.update(message)
            elif "method" in message:
                self._note(message["method"], message["params"])

    def _note(self, method: str, event: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
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
    # Chromium reads commands from descriptor 3 and writes answers to 4.
    process = subprocess.Popen(
        [
            "/bin/sh", "-c", f'exec "$@" 3<&{browser_reads} 4>&{browser_writes}', "sh",
            CHROMIUM, *FLAGS, f"--user-data-dir={profile}",
        ],
        pass_fds=(browser_reads, browser_writes),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(browser_reads)
    os.close(browser_writes)
    try:
        page = Page(we_write, we_read)
        yield page
        page._session = None
        page.send("Browser.close")
        process.wait(timeout=10)
    finally:
        process.kill()
        process.wait()
        os.close(we_write)
        os.close(we_read)
        shutil.rmtree(profile, ignore_errors=True)
