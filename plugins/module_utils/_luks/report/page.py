# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""A report as one HTML page that needs nothing else: no request, no library, no server; it may be mailed or archived."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import typing as t

from .page_script import SCRIPT
from .page_style import STYLE

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#volumes">Skip to the volumes</a>
<header class="top">
<div><h1>{title}</h1><p class="sub">{summary}</p></div>
<div class="top-buttons"><button type="button" id="theme">Dark or light</button><button type="button" id="print">Print</button></div>
</header>
<main id="main"><noscript><p class="note">{summary} This page draws its tables with a script of its own, which is switched off here; the CSV and
JSON files beside it hold the same data.</p></noscript></main>
<dialog id="details" aria-labelledby="details-title"></dialog>
<script type="application/json" id="report">{data}</script>
<script>{script}</script>
</body>
</html>
"""


_WORDS = {
    "findings": "with findings",
    "unverified": "not verified",
    "recorded": "compliant by record",
    "partial": "partly done",
    "unchanged": "with nothing to do",
}


def render(report: t.Mapping[str, t.Any]) -> str:
    """The page for a report that :func:`.data.build` made. Everything from hosts is data in a JSON block, never markup."""
    return _PAGE.format(
        policy=f"default-src 'none'; style-src '{_hash(STYLE)}'; script-src '{_hash(SCRIPT)}'; base-uri 'none'; form-action 'none'",
        title=html.escape(report["title"]),
        summary=html.escape(summary(report)),
        style=STYLE,
        data=_data(report),
        script=SCRIPT,
    )


def summary(report: t.Mapping[str, t.Any]) -> str:
    """The whole report in one sentence."""
    totals = report["totals"]
    states = ", ".join(f"{count:,} {_WORDS.get(state, state)}" for state, count in totals["states"].items() if count)
    lost = totals["hosts_without_answer"]
    parts = [f"{_count(totals['volumes'], 'volume')} on {_count(totals['hosts'], 'host')}: {states or 'nothing to show'}."]
    if lost:
        parts.append(f"{_count(lost, 'host')} gave no answer.")
    if report["generated"]:
        parts.append(f"Made {report['generated']}.")
    return " ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _data(report: t.Mapping[str, t.Any]) -> str:
    # Inside a script element only "</" and "<!--" have a meaning; without "<", ">" and "&" nothing has.
    text = json.dumps(report, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
