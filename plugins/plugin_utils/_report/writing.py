# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The files of a report: each is replaced whole and durably, and only where it differs."""

from __future__ import annotations

import datetime
import functools
import os
import stat
import time
import types
import typing as t

from ...module_utils._luks import files
from ...module_utils._luks.errors import BadTask, LuksmithError
from ...module_utils._luks.paths import check_path, fault
from . import comparison, data, exchange, oscal, page, parts, sarif, xccdf

# The mode of a file from the one that it has.
Mode = t.Callable[[int], int]

# What makes a form part by part; what is wrong with a report is raised before the first part.
FORMS: t.Dict[str, t.Callable[[t.Mapping[str, t.Any]], parts.Parts]] = {
    "html": page.parts,
    "json": parts.json_of,
    "csv": exchange.csv_parts,
    "junit": exchange.junit_parts,
    "sarif": sarif.sarif_parts,
    "oscal": oscal.oscal_parts,
    "xccdf": xccdf.xccdf_parts,
    "arf": xccdf.arf_parts,
    "prometheus": lambda report: iter((exchange.to_prometheus(report),)),
}
PATIENCE = 10.0  # seconds for another process that writes the same report


def write(
    options: t.Mapping[str, t.Any], *, mode: Mode, check: bool, modes: t.Mapping[str, Mode] = types.MappingProxyType({})
) -> t.Dict[str, t.Any]:
    """The result of the task with these options; ``before``: what is compared of the report before, if that is wanted;
    ``modes``: of files that have a mode of their own.

    Raises LuksmithError, whose ``after_change`` says whether a file was written before.
    """
    wanted = {options[form]: render for form, render in FORMS.items() if options.get(form) is not None}
    if not wanted:
        raise BadTask("no file to write is given", remedy=f"Give one or more of {', '.join(FORMS)}")
    for path in (*options["sources"], *wanted):
        check_path(path, "a path")
    kind = options["kind"]
    for form in ("sarif", "oscal", "xccdf", "arf"):
        if kind != data.AUDIT and options.get(form) is not None:
            raise BadTask(f"{form} is for the report of an audit", remedy="Use json for a rotation")
    earlier = {path: exchange.read_report(path, kind) for path in options["sources"]}
    hosts = [host for part in earlier.values() for host in part["hosts"]]
    run = options.get("run") or (data.joined_run(earlier) if kind == data.ROTATION else None)
    generated = options["generated"] or in_words(time.time())
    before = options.get("before")
    report = data.build(
        [*hosts, *options["hosts"]],
        kind=kind,
        title=options["title"],
        generated=generated,
        run=run,
        scope=options.get("scope"),
        files={form: os.path.basename(options[form]) for form in FORMS if options.get(form) is not None},
        since=None if before is None else functools.partial(comparison.since, before, kind=kind),
    )

    def content_of(path: str) -> t.Iterator[bytes]:
        return parts.encoded(wanted[path](report))

    stale = [path for path in wanted if not _is(path, content_of(path))]
    changed: t.List[str] = []
    try:
        for path in stale:
            files.check_replaceable(path, follow=False, new_folders=True)
        for path in wanted:
            own = modes.get(path, mode)
            if _put(path, content_of(path), own, check) if path in stale else _set_mode(path, own, check):
                changed.append(path)
    except LuksmithError as error:
        raise _cannot_write(path, error, changed) from None
    return {
        "changed": bool(changed),
        "totals": report["totals"],
        "summary": page.summary(report),
        **({"since": report["since"]} if "since" in report else {}),
        "files": list(wanted),
    }


def in_words(seconds: float, form: str = "%Y-%m-%d %H:%M UTC") -> str:
    """A time since the epoch, as the report has it."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime(form)


def _is(path: str, content: t.Iterator[bytes]) -> bool:
    """Whether a regular file has this content; no more of it is made than is the same."""
    try:
        with files.open_regular(path) as file:
            return all(file.read(len(part)) == part for part in content) and not file.read(1)
    except OSError:
        return False


def _put(path: str, content: t.Iterator[bytes], mode: Mode, check: bool) -> bool:
    if not check:
        files.make_folder(os.path.dirname(os.path.abspath(path)))
        final = mode(_mode_of(path))
        files.replace(path, content, mode=final, owner=files.LIKE_THE_OLD, follow=False, patience=PATIENCE)
    return True


def _mode_of(path: str) -> int:
    """Of the regular file that is replaced; a new file, also one in the place of a link, begins as a private one."""
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return files.PRIVATE
    return stat.S_IMODE(status.st_mode) if stat.S_ISREG(status.st_mode) else files.PRIVATE


def _set_mode(path: str, mode: Mode, check: bool) -> bool:
    """Whether the file, which holds the right content, had another mode.

    A link stays as it is, and so does what it leads to.
    """
    if os.path.islink(path):
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            old = stat.S_IMODE(os.fstat(descriptor).st_mode)
            new = mode(old)
            if new != old and not check:
                os.fchmod(descriptor, new)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise fault(path, "cannot change its mode", error) from None
    return new != old


def _cannot_write(path: str, error: LuksmithError, changed: t.Sequence[str]) -> LuksmithError:
    before = [f"Written before that: {', '.join(changed)}."] if changed else []
    told = BadTask(
        f"the report {path} cannot be written: {error.found}",
        why=error.why,
        remedy=error.remedy or "Free some space there, or give another path",
        changed=" ".join([*before, *([error.changed] if error.after_change or not before else [])]),
    )
    told.after_change = bool(changed) or error.after_change
    return told
