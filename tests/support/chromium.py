"""A headless Chromium that is driven over its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest

START_S = 60


def chromium() -> str:
    """The path of Chromium; a test without it is skipped, and in CI it fails."""
    found = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is missing")
        pytest.skip("needs chromium: apt-get install chromium")
    return found


class Browser:
    """One window with one page.

    `faults` holds the errors of the page's console and network.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = chromium()
        self._stack = contextlib.AsyncExitStack()
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.faults: list[str] = []

    async def __aenter__(self) -> Self:
        flags = (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--hide-scrollbars",
        )
        command = [
            self._program,
            *flags,
            "--remote-debugging-port=0",
            f"--user-data-dir={self._folder}",
            "about:blank",
        ]
        with (self._folder.parent / f"{self._folder.name}.log").open("wb") as log:
            # only a fork, at the start
            self._process = subprocess.Popen(  # noqa: ASYNC220
                command, stdout=log, stderr=log, start_new_session=True
            )
        self._stack.callback(self._kill)
        try:
            port = await self._port()
            session = await self._stack.enter_async_context(aiohttp.ClientSession())
            async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
                page = next(target for target in await response.json() if target["type"] == "page")
            self._socket = await self._stack.enter_async_context(
                session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)
            )
            self._reading = asyncio.create_task(self._read())
            self._stack.callback(self._reading.cancel)
            for domain in ("Page", "Runtime", "Log", "Network"):
                await self.call(f"{domain}.enable")
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends one command and returns its answer."""
        number = next(self._numbers)
        answer = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        return await asyncio.wait_for(answer, 30)

    async def open(
        self,
        url: str,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        phone: bool = False,
    ) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        await self.dark(dark)
        await self.call("Page.navigate", url=url)
        await self.until(
            f"document.readyState === 'complete' && location.href === {json.dumps(url)}"
        )

    async def dark(self, dark: bool) -> None:
        await self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )

    async def value(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of the promise that it gives."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, expression: str, timeout_s: float = 20) -> Any:
        """The first value of the expression that is true."""
        give_up = time.monotonic() + timeout_s
        while not (value := await self.value(expression)):
            assert time.monotonic() < give_up, (
                f"still {value!r} after {timeout_s} s: {expression}; faults: {self.faults}"
            )
            await asyncio.sleep(0.05)
        return value

    async def texts(self, selector: str) -> list[str]:
        """The text of every element that the selector chooses and that is shown."""
        chosen = (
            f"[...document.querySelectorAll({json.dumps(selector)}"
            ")].filter((node) => node.checkVisibility())"
        )
        return await self.value(f"{chosen}.map((node) => node.innerText.trim())")

    async def screenshot(self, file: Path, *, whole: bool = True) -> None:
        answer = await self.call(
            "Page.captureScreenshot", captureBeyondViewport=whole, **await self._clip(whole)
        )
        await asyncio.to_thread(file.write_bytes, base64.b64decode(answer["data"]))

    async def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
        return {"clip": {**size, "scale": 1}}

    async def _port(self) -> int:
        file = self._folder / "DevToolsActivePort"
        give_up = time.monotonic() + START_S
        while not (file.exists() and "\n" in (text := file.read_text())):
            assert time.monotonic() < give_up, "chromium did not start"
            assert self._process.poll() is None, (
                self._folder.parent / f"{self._folder.name}.log"
            ).read_text()
            await asyncio.sleep(0.05)
        return int(text.splitlines()[0])

    async def _read(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                answer = self._answers.pop(told["id"])
                if "error" in told:
                    answer.set_exception(RuntimeError(f"{told['error']}"))
                elif not answer.done():
                    answer.set_result(told["result"])
            else:
                self._note(told["method"], told["params"])

    def _note(self, method: str, told: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.faults.append(json.dumps(told["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and told["type"] in (
            "error",
            "warning",
            "assert",
        ):
            self.faults.append(json.dumps(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.faults.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
