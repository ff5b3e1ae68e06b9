# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The report of a run that goes on: complete before the first host is asked, and renewed as hosts answer.

Each host is the work of a process of its own, and any of them may be the last one before the play stops. So each writes
the part of its host, and whoever is due joins all parts. The folder has for that, besides the report:

- hosts/NAME.json: the part of a host, a report of its own
- .run.json: what is known of the run; the ids of the runs before it, which do not touch the folder any more
- .run.lock: the lock of the folder; in it, when the parts were last joined and how many seconds that took
- .run.before.json: what is compared of the report of the run before
- .run.ended: a line for each host that began (false) or came to its end (true); the last one holds
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import typing as t
import urllib.parse

from ...module_utils._luks import files
from ...module_utils._luks.errors import BadTask
from ...module_utils._luks.paths import fault
from .._waiting_lock import lock_within
from . import comparison, data, exchange, writing

Facts = t.Dict[str, t.Any]

NAME = "rotation"
# The parts are joined at once while that is cheap, and never for more than a twentieth of the time.
PAUSE = 20
PATIENCE = 30.0  # seconds for other processes that join the parts
_RUNS_BEFORE = 20
_MODE = 0o600
# The metrics are counts, without a name of anything, for the node exporter, which is another user. Whether it comes as
# far as this file is decided by the mode of the folder.
_NUMBERS = 0o044


class RunningReport:
    """The report in ``folder`` of the run ``identity``, for one of its hosts."""

    def __init__(self, folder: str, identity: str, clock: t.Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._identity = identity
        self._clock = clock
        # Another run has begun in the same folder since, which is now the one that the report is about.
        self.superseded = False

    def begin(self, host: str, facts: t.Callable[[], Facts]) -> None:
        """Before ``host`` is asked.

        facts: what is known of the run: ``hosts``, ``beyond`` (those that --limit leaves out), ``check``, ``who``,
        ``controller``, ``versions``, ``store``. Asked for only where the report does not have this host yet.

        Raises LuksmithError.
        """
        run = self._run()
        if run is not None and self._identity in run["before"]:
            self.superseded = True
            return
        if run is None or run["id"] != self._identity:
            files.make_folder(os.path.join(self._folder, "hosts"))
        self._put_part({"host": host, "state": data.ASKING, "began": self._now(), "volumes": []})
        with self._locked() as lock:
            run = self._run()
            if run is None or run["id"] != self._identity or host not in run["hosts"]:
                self._begin(run, facts(), lock)
            elif self._is_due(lock):
                self._join(run, lock)
            self._note(host, ended=False)

    def answer(self, part: Facts, batch: t.Sequence[str]) -> None:
        """After the host was asked. batch: the hosts that are asked together with it. Raises LuksmithError."""
        host = part["host"]
        self._put_part({**part, "state": data.ANSWERED, "ended": self._now()})
        with self._locked() as lock:
            run = self._run()
            if run is None or run["id"] != self._identity:
                self.superseded = True
                return
            self._note(host, ended=True)
            # After the last one of a batch the play may stop.
            if set(batch) <= self._ended() or self._is_due(lock):
                self._join(run, lock)

    def end(self) -> None:
        """The run ended, or was interrupted: after this, no host is said to be under way. Raises LuksmithError."""
        run = self._run()
        if run is None or run["id"] != self._identity or set(run["hosts"]) <= self._ended():
            return
        with self._locked() as lock:
            for host in sorted(set(run["hosts"]) - self._ended()):
                part = self._part(host)
                if part is not None and part["state"] == data.ASKING:
                    self._put_part({"host": host, "state": data.INTERRUPTED, "volumes": []})
            self._join(run, lock)

    def content(self) -> t.Optional[bytes]:
        """The report as JSON; None if it is not that of this run. Raises LuksmithError."""
        with self._locked():
            run = self._run()
            if run is None or run["id"] != self._identity:
                return None
            return files.read_regular(self._path(f"{NAME}.json"))

    def _begin(self, run: t.Optional[Facts], known: Facts, lock: int) -> None:
        if run is not None and run["id"] == self._identity:  # another play of the same run
            run = {**run, **{name: sorted({*run[name], *known[name]}) for name in ("hosts", "beyond")}}
        else:
            before = [] if run is None else [run["id"], *run["before"]]
            run = {**known, "id": self._identity, "before": before[:_RUNS_BEFORE], "began": self._now()}
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(".run.ended"))
            last = comparison.baseline(self._path(f"{NAME}.json"), data.ROTATION)
            self._replace(".run.before.json", json.dumps(last))
        self._replace(".run.json", json.dumps(run))
        self._join(run, lock)

    # Joining

    def _is_due(self, lock: int) -> bool:
        try:
            joined, took = json.loads(os.pread(lock, 100, 0) or b"[0, 0]")
            return not 0 <= self._clock() - joined < PAUSE * took
        except (ValueError, TypeError):  # it was cut, or is somebody else's
            return True

    def _join(self, run: Facts, lock: int) -> None:
        began = self._clock()
        hosts = [self._part(host) or {"host": host, "state": data.WAITING} for host in run["hosts"]]
        hosts += [{"host": host, "state": data.BEYOND} for host in run["beyond"]]
        common, differ = _common_options([host["options"] for host in hosts if host.get("options")])
        for host in hosts:
            options = host.pop("options", {})
            if differ and options:
                host["options"] = {name: options[name] for name in differ if name in options}
        ended = [host.get("ended", "") for host in hosts if host["state"] != data.BEYOND]
        generation = common.get("rotate_generation", "")
        options = {
            "kind": data.ROTATION,
            "title": f"Rotation {generation}".rstrip(),
            "generated": writing.in_words(began),
            "hosts": hosts,
            "sources": [],
            "before": self._before(),
            "run": {
                **run,
                "options": common,
                "differ": differ,
                "ended": max(ended, default=None) if all(ended) else None,
            },
            **{form: self._path(f"{NAME}.{ending}") for form, ending in _ENDINGS.items()},
        }
        modes = {options["prometheus"]: lambda old: old | _NUMBERS}
        writing.write(options, mode=lambda _old: _MODE, check=False, modes=modes)
        state = json.dumps([began, self._clock() - began]).encode()
        os.ftruncate(lock, 0)
        os.pwrite(lock, state, 0)

    def _note(self, host: str, *, ended: bool) -> None:
        with open(self._path(".run.ended"), "a", encoding="utf-8", opener=_open_private) as lines:
            lines.write(f"{json.dumps([host, ended])}\n")

    def _ended(self) -> t.Set[str]:
        try:
            with open(self._path(".run.ended"), encoding="utf-8") as lines:
                return {host for host, ended in dict(map(json.loads, lines)).items() if ended}
        except (OSError, ValueError, TypeError):
            return set()

    # Files

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def _path_of(self, host: str) -> str:
        return self._path(f"hosts/{urllib.parse.quote(host, safe='')}.json")

    def _now(self) -> str:
        return writing.in_words(self._clock(), "%Y-%m-%d %H:%M:%S UTC")

    def _run(self) -> t.Optional[Facts]:
        """What the folder knows of the run that began last."""
        try:
            run = json.loads(files.read_regular(self._path(".run.json")))
            known = {name: list(run[name]) for name in ("hosts", "beyond", "before")}
            return {**run, **known, "id": str(run["id"])}
        except (OSError, ValueError, TypeError, LookupError):
            return None

    def _before(self) -> Facts:
        path = self._path(".run.before.json")
        try:
            return dict(json.loads(files.read_regular(path)))
        except (OSError, ValueError, TypeError):
            return {"problem": f"The last report could not be compared: {path} cannot be read.", "hosts": None}

    def _part(self, host: str) -> t.Optional[Facts]:
        """What this run has of the host."""
        try:
            report = exchange.read_report(self._path_of(host), data.ROTATION)
            return dict(report["hosts"][0]) if report["run"]["id"] == self._identity else None
        except (BadTask, LookupError, TypeError, ValueError):
            return None

    def _put_part(self, part: Facts) -> None:
        """Beside what another play of the same run had to say of this host."""
        if self.superseded:
            return
        before = self._part(part["host"])
        if before is not None and "began" in before:
            part = {**part, "began": before["began"]}
        report = data.build([*([before] if before else []), part], kind=data.ROTATION, run={"id": self._identity})
        if part["state"] == data.ASKING:
            report["hosts"][0]["state"] = data.ASKING
            report["hosts"][0].pop("ended", None)
        path = self._path_of(part["host"])
        files.replace(path, exchange.to_json(report).encode("ascii"), mode=_MODE, follow=False, patience=PATIENCE)

    def _replace(self, name: str, text: str) -> None:
        files.replace(self._path(name), text.encode("utf-8"), mode=_MODE, follow=False, patience=PATIENCE)

    @contextlib.contextmanager
    def _locked(self) -> t.Iterator[int]:
        """The descriptor of the lock."""
        path = self._path(".run.lock")
        try:
            lock = _open_private(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise fault(path, "cannot be used as a lock", error) from None
        try:
            if not lock_within(lock, PATIENCE):
                raise BadTask(
                    f"{path} has been locked for {PATIENCE:g} seconds",
                    remedy="Wait until the other run is done, or give this one another folder for its report",
                )
            yield lock
        except OSError as error:
            raise fault(error.filename or path, "cannot be used for the report", error) from None
        finally:
            os.close(lock)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, _MODE)


_ENDINGS = {"html": "html", "json": "json", "csv": "csv", "junit": "xml", "prometheus": "prom"}


def _common_options(told: t.Sequence[t.Mapping[str, str]]) -> t.Tuple[t.Dict[str, str], t.List[str]]:
    """Options that all hosts have with one value, and the names of the others."""
    names = sorted({name for options in told for name in options})
    first = told[0] if told else {}
    common = {name: first[name] for name in names if all(options.get(name) == first.get(name) for options in told)}
    return common, [name for name in names if name not in common]
