# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""A report as one HTML page that needs nothing else: no request, no library, no server; it may be mailed or
archived.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import pathlib
import re
import textwrap
import typing as t

from . import comparison
from . import verdict as verdicts
from .data import ASKING, BEYOND, DONE, FAILED, INCOMPLETE, INTERRUPTED, PLANNED, WAITING, is_partial
from .parts import Parts
from .verdict import many

_FOLDER = pathlib.Path(__file__).parent

# In this order they become one function, so that they see each other's names and the browser's global scope gets none.
# Each imports only from those before it.
PARTS = (
    *("shared", "slots", "filters", "details", "overview", "verdict", "run", "since", "policies", "volumes", "paper"),
    "layout",
)

_IMPORT = re.compile(r"^import \{[^{}]*\} from \"\./\w+\.js\";\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=const |function )", re.MULTILINE)


_WORDS = {
    "findings": "with findings",
    "unverified": "not verified",
    "recorded": "compliant by record",
    "partial": "partly done",
    "planned": "would change",
    "unchanged": "with nothing to do",
}
_VERDICTS = {
    FAILED: "Failed in part: a volume failed or was refused, or a host gave no answer.",
    INCOMPLETE: "Not at its end: the run is under way, or was stopped.",
    PLANNED: "Every host has answered.",
    DONE: "Every host has answered, and no volume was refused.",
}
_MISSING = {
    ASKING: ("is under way, or was when the run was killed", "are under way, or were when the run was killed"),
    INTERRUPTED: ("was under way when the run was interrupted", "were under way when the run was interrupted"),
    WAITING: ("was not reached yet", "were not reached yet"),
    BEYOND: ("is beyond --limit and was not asked", "are beyond --limit and were not asked"),
}
_DRY = "Dry run: no volume and no store was changed."


def render(report: t.Mapping[str, t.Any]) -> str:
    return "".join(parts(report))


def parts(report: t.Mapping[str, t.Any]) -> Parts:
    """The page for a report that :func:`.data.build` made.

    Everything from hosts is data in a JSON block, never markup.
    """
    own = f"style-src '{_hash(style())}'; script-src '{_hash(script())}'"
    before, _data_here, after = _text("page.html").partition("{data}")
    yield before.format(
        policy=f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'",
        title=html.escape(report["title"]),
        summary=html.escape(summary(report)),
        style=style(),
    )
    yield from _data(report)
    yield after.format(script=script())


def style() -> str:
    return "\n" + _text("page.css")


def script() -> str:
    """The modules of script/ as one function, because a page that is a single file cannot import any."""
    parts = [_EXPORT.sub("", _IMPORT.sub("", _text(f"script/{part}.js"))).lstrip("\n") for part in PARTS]
    return '\n"use strict";\n(() => {' + "".join("\n" + textwrap.indent(part, "  ") for part in parts) + "})();\n"


@functools.lru_cache(maxsize=None)
def _text(name: str) -> str:
    """A file beside this one, without the comment at its beginning, which ends with an empty line."""
    return (_FOLDER / name).read_text(encoding="utf-8").partition("\n\n")[2]


def summary(report: t.Mapping[str, t.Any]) -> str:
    """The whole report in one sentence."""
    totals = report["totals"]
    states = ", ".join(f"{count:,} {_WORDS.get(state, state)}" for state, count in totals["states"].items() if count)
    partly = sum(bool(host["error"] and is_partial(host)) for host in report["hosts"])
    lost = totals["hosts_without_answer"] - partly
    parts = [verdict(report["run"])] if "run" in report else []
    parts += [verdicts.sentence(report["verdict"])] if "verdict" in report else []
    changed = comparison.sentence(report["since"]) if "since" in report else ""
    parts.append(
        f"{many(totals['volumes'], 'volume')} on {many(totals['hosts'], 'host')}: {states or 'nothing to show'}."
    )
    if lost:
        parts.append(f"{many(lost, 'host')} gave no answer.")
    if partly:
        parts.append(f"{many(partly, 'host')} {'was' if partly == 1 else 'were'} not audited as a whole.")
    if "store" in totals:
        proven, by_record = totals["store"]["yes"], totals["store"]["by record"]
        asked = many(sum(totals["store"].values()), "volume")
        unsure = totals["store"]["not verified"]
        opens = f"The store opens {proven + by_record:,} of {asked}{' (by record)' if by_record else ''}"
        if unsure and unsure == sum(totals["store"].values()):
            opens = f"Whether the store opens {asked} was not verified"
        elif unsure:
            opens += f"; {unsure:,} not verified"
        parts.append(f"{opens}.")
    if totals.get("unknown"):
        parts.append(f"{many(totals['unknown'], 'keyslot')} opened with no secret that the run could try.")
    for state, (one, several) in _MISSING.items():
        number = totals.get("hosts_by_state", {}).get(state, 0)
        if number:
            parts.append(f"{many(number, 'host')} {one if number == 1 else several}.")
    if changed:
        parts.append(changed)
    if report["generated"]:
        parts.append(f"Made {report['generated']}.")
    return " ".join(parts)


def verdict(run: t.Mapping[str, t.Any]) -> str:
    """Over the whole run, in words."""
    said = _VERDICTS[run["verdict"]]
    return f"{_DRY} {said}" if run["check"] else said


def _data(report: t.Mapping[str, t.Any]) -> Parts:
    """The report as JSON without spaces, host by host."""
    for number, (name, value) in enumerate(report.items()):
        yield f"{',' if number else '{'}{_json(name)}:"
        if name != "hosts":
            yield _json(value)
            continue
        yield "["
        for rank, host in enumerate(value):
            yield f"{',' if rank else ''}{_json(host)}"
        yield "]"
    yield "}"


def _json(value: t.Any) -> str:
    # Inside a script element only "</" and "<!--" have a meaning; without "<", ">" and "&" nothing has.
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
