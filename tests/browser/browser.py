# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One Chromium for all tests of a process, driven through its DevTools protocol: starting it costs more than any page.

The protocol goes through two pipes (--remote-debugging-pipe), so that it needs neither a port nor a library.
"""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import select
import shutil
import subprocess
import typing as t

from ansible_collections.luksmith.luks.tests import needs

PROGRAM = needs.program("chromium") or "chromium"
# A network namespace of its own has not even a loopback interface that is up.
ALONE = ["unshare", "--net"] if os.geteuid() == 0 and shutil.which("unshare") else []
# Seconds without an answer.
PATIENCE = 300

Answer = t.Dict[str, t.Any]


class Browser:
    def __init__(self, folder: pathlib.Path) -> None:
        """``folder``: for the profile and what Chromium says."""
        from_us, self._orders = os.pipe()
        self._answers, to_us = os.pipe()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        # Chromium reads descriptor 3 and writes descriptor 4.
        command = ["bash", "-c", f'exec "$@" 3<&{from_us} 4>&{to_us}', "chromium"]
        with (folder / "said").open("wb") as said:
            self._process = subprocess.Popen(
                [*command, *ALONE, PROGRAM, *flags, f"--user-data-dir={folder / 'profile'}", "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=(from_us, to_us),
                env={**os.environ, "HOME": str(folder)},
            )
        os.close(from_us)
        os.close(to_us)
        self._said = folder / "said"
        self._numbers = itertools.count(1)
        self._read = bytearray()

    def close(self) -> None:
        os.close(self._orders)
        os.close(self._answers)
        self._process.kill()
        self._process.wait()

    def document(self, url: str, width: int = 1280, media: str = "") -> str:
        """The HTML of a page as it is once it was loaded, in a window of ``width`` pixels; ``media``: "print"."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        self._ask("Emulation.setDeviceMetricsOverride", session, **size)
        self._ask("Emulation.setEmulatedMedia", session, media=media)
        self._ask("Page.enable", session)
        self._order("Page.navigate", session, url=url)
        while self._next().get("method") != "Page.loadEventFired":
            pass
        found = self._ask("Runtime.evaluate", session, expression="document.documentElement.outerHTML")
        self._ask("Target.closeTarget", targetId=target)
        return str(found["result"]["value"])

    def _order(self, method: str, session: str = "", **parameters: t.Any) -> int:
        number = next(self._numbers)
        order = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        os.write(self._orders, json.dumps(order).encode() + b"\0")
        return number

    def _ask(self, method: str, session: str = "", **parameters: t.Any) -> Answer:
        number = self._order(method, session, **parameters)
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer)
                return t.cast(Answer, answer["result"])

    def _next(self) -> Answer:
        """The next thing that the browser says: an answer or an event."""
        while b"\0" not in self._read:
            ready, _write, _error = select.select([self._answers], [], [], PATIENCE)
            part = os.read(self._answers, 1 << 20) if ready else b""
            assert part, self._said.read_text(errors="replace")[-2000:]
            self._read += part
        end = self._read.index(0)
        message = json.loads(self._read[:end])
        del self._read[: end + 1]
        return t.cast(Answer, message)
