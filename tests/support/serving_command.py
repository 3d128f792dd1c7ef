"""`gateway serve` as a process, for tests of commands that ask a gateway."""

import os
import re
import subprocess
import sys
import time

from tests.support.checkout import ROOT

MODELS = ROOT / "models"


class Served:
    """A running gateway: `banner` is what it printed, `address` its gRPC address."""

    def __init__(self, process, stdout, stderr):
        self._process = process
        self._stdout = stdout
        self._stderr = stderr
        self.banner = self._wait_for_banner()
        self.address = re.search(r"gRPC +(\S+)", self.banner)[1]

    def _wait_for_banner(self):
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up and self._process.poll() is None:
            text = self._stdout.read_text()
            if "try it:" in text and text.endswith("\n"):
                return text
            time.sleep(0.02)
        raise AssertionError(
            f"the gateway did not start ({self._process.poll()}): {self._stderr.read_text()}"
        )

    def stop(self):
        self._process.terminate()
        return self._process.wait(30)


def serve(folder, cache, *options):
    """Starts `gateway serve` on a free port."""
    stdout = folder / "stdout"
    stderr = folder / "stderr"
    command = [
        sys.executable,
        "-m",
        "gateway",
        "serve",
        "--port",
        "0",
        "--http-port",
        "off",
        "--drain-delay",
        "0s",
        "--processes",
        "1",
        *options,
    ]
    with stdout.open("wb") as out, stderr.open("wb") as err:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=err,
            cwd=ROOT,
            env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        )
    try:
        return Served(process, stdout, stderr)
    except BaseException:
        process.kill()
        process.wait()
        raise
