# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""What changed since the last report.

The last report is a file, which may be anything by now. What cannot be compared is said, and stops no run. A volume is
compared only where both reports saw it: one of a host that was not asked is neither gone nor as it was.
"""

from __future__ import annotations

import collections
import errno
import json
import os
import stat
import typing as t

from ...module_utils._luks.audit.policy import SEVERITIES
from ...module_utils._luks.errors import LuksmithError
from . import data
from .fleet_rules import FLEET_RULES
from .verdict import many

Json = t.Dict[str, t.Any]
Given = t.Mapping[str, t.Any]

LARGEST = 64 << 20  # bytes of a report that is compared
CHANGES = NEW, GONE, WORSE, BETTER, CHANGED = ("new", "gone", "worse", "better", "changed")
_NO_NUMBER = 20  # digits
_PLACE = ("device", "header", "uuid")
_BAD = ("failed", "partial", "refused")
# What decides which findings an audit can have at all, and the words for it.
_BASIS = {"policy_digest": "policy", "verify": "verification", "labels": "secrets", "forbidden_labels": "old secrets"}


class NotComparable(Exception):
    """Why the last report cannot be compared."""


def baseline(path: str, kind: str) -> Json:
    """What is to be compared of the report at ``path``: ``problem``, or ``generated``, ``check`` and ``hosts``.

    Never fails, whatever is there.
    """
    try:
        report = _read(path)
        if report is None:
            return {"problem": "", "hosts": None}
        if report.get("version") != data.VERSION:
            raise NotComparable(f"it is not of version {data.VERSION} of the format")
        if report.get("kind") != kind:
            raise NotComparable(f"it is no report of {'an audit' if kind == data.AUDIT else 'a rotation'}")
        run = report.get("run")
        return {
            "problem": "",
            "generated": data.shown(report.get("generated")),
            "check": isinstance(run, dict) and run.get("check") is True,
            "hosts": reduced(data.hosts_of(report.get("hosts"), kind), kind),
        }
    except NotComparable as error:
        reason = str(error)
    except LuksmithError:
        reason = "it has no hosts as a report has them"
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        reason = (error.strerror or "it cannot be read") if isinstance(error, OSError) else "it is not JSON"
    return {"problem": f"The report {data.shown(path)} could not be compared: {reason}.", "hosts": None}


def _read(path: str) -> t.Optional[Json]:
    """None where nothing is. A link could lead to any file, whose content is nobody's business here."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NotComparable("it is a symbolic link") if error.errno == errno.ELOOP else error from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotComparable("it is no regular file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(LARGEST + 1)
    finally:
        os.close(descriptor)
    if len(content) > LARGEST:
        raise NotComparable(f"it is larger than {LARGEST >> 20} MiB")
    report = json.loads(content.decode("utf-8"), parse_int=_number)
    if not isinstance(report, dict):
        raise NotComparable("it is no report of this collection")
    return report


def _number(digits: str) -> int:
    if len(digits) > _NO_NUMBER:
        raise ValueError(digits[:_NO_NUMBER])
    return int(digits)


def reduced(hosts: t.Iterable[Given], kind: str) -> t.List[Json]:
    """Of hosts as :mod:`.data` has them, what is compared."""
    return [
        {
            "host": host["host"],
            "asked": host.get("state", data.ANSWERED) in (data.ANSWERED, data.LOST),
            "answered": host.get("state", data.ANSWERED) == data.ANSWERED and not host["error"],
            "volumes": [_reduced_volume(volume, kind) for volume in host["volumes"]],
        }
        for host in hosts
    ]


def _reduced_volume(volume: Given, kind: str) -> Json:
    one: Json = {name: volume.get(name) for name in (*_PLACE, "state")}
    if kind == data.AUDIT:
        one["findings"] = [_key(finding, False) for finding in volume["findings"]]
        one["findings"] += [_key(finding, True) for finding in volume["unverified"]]
        one["fingerprint"] = volume.get("fingerprint")
        audited = volume.get("audited") or {}
        one["basis"] = {name: audited.get(name) for name in _BASIS}
    else:
        one["unknown"] = sorted(row["keyslot"] for row in volume.get("unknown", ()))
    return one


def _key(finding: Given, unverified: bool) -> t.List[t.Any]:
    return [finding["rule"], finding["keyslot"], finding["severity"], unverified]


def since(before: Given, hosts: t.Sequence[Given], kind: str) -> Json:
    """The member ``since`` of the report of ``hosts``; before: what :func:`baseline` returned."""
    found: Json = {
        "problem": before["problem"] or None,
        "generated": before.get("generated", ""),
        "check": bool(before.get("check")),
        "compared": 0,
        "counts": dict.fromkeys(CHANGES, 0),
        "lost": [],
        "back": [],
        "not_compared": [],
        "volumes": [],
    }
    if before["hosts"] is None:
        found["first"] = not before["problem"]
        return found
    found["first"] = False
    olds = {host["host"]: host for host in before["hosts"]}
    news = {host["host"]: host for host in reduced(hosts, kind)}
    unseen = {name for name, host in olds.items() if host["answered"] and not (name in news and news[name]["answered"])}
    for name in sorted({*olds, *news}):
        _compare_host(name, olds.get(name), news.get(name), kind, found, narrower=bool(unseen))
    found["counts"].update(collections.Counter(volume["change"] for volume in found["volumes"]))
    return found


def _compare_host(
    name: str, old: t.Optional[Given], new: t.Optional[Given], kind: str, found: Json, *, narrower: bool
) -> None:
    """narrower: a host that answered then did not answer now"""
    if old is None or new is None or not (old["asked"] and new["asked"]):
        found["not_compared"].append(name)
        return
    if old["answered"] != new["answered"]:
        found["lost" if old["answered"] else "back"].append(name)
    pairs, gone, added = _pairs(old["volumes"], new["volumes"])
    # Of a host that gave no whole answer, a volume may be missing for that reason.
    changes = [(one, GONE, {"was": one["state"]}) for one in gone if new["answered"]]
    changes += [(one, NEW, {"is": one["state"]}) for one in added if old["answered"]]
    for before, after in pairs:
        found["compared"] += 1
        change = _audited(before, after, narrower) if kind == data.AUDIT else _rotated(before, after)
        if change is not None:
            changes.append((after, change[0], {"was": before["state"], "is": after["state"], **change[1]}))
    if not (pairs or changes or old["answered"] or new["answered"]):
        found["not_compared"].append(name)
    for volume, word, more in changes:
        place = {member: volume[member] for member in _PLACE}
        told = {"was": None, "is": None, "appeared": [], "went": [], "notes": [], **more}
        found["volumes"].append({"host": name, **place, "change": word, **told})


def _pairs(
    olds: t.Sequence[Given], news: t.Sequence[Given]
) -> t.Tuple[t.List[t.Tuple[Given, Given]], t.List[Given], t.List[Given]]:
    """The same volumes, those that are only in the first, and those that are only in the second.

    The name of a disk may change at any boot, and its uuid does not. A volume that could not be read has only a name.
    """
    pairs: t.List[t.Tuple[Given, Given]] = []
    gone, added = list(olds), list(news)
    for name in (lambda one: one["uuid"], lambda one: (one["device"], one["header"])):
        lone_old, lone_new = _lone(gone, name), _lone(added, name)
        for key, old in lone_old.items():
            new = lone_new.get(key)
            if new is not None and (not old["uuid"] or not new["uuid"] or old["uuid"] == new["uuid"]):
                pairs.append((old, new))
        paired_old, paired_new = {id(old) for old, _new in pairs}, {id(new) for _old, new in pairs}
        gone = [one for one in gone if id(one) not in paired_old]
        added = [one for one in added if id(one) not in paired_new]
    return pairs, gone, added


def _lone(volumes: t.Iterable[Given], name: t.Callable[[Given], t.Any]) -> t.Dict[t.Any, Given]:
    """Volumes by their name, where no other has the same one."""
    named: t.Dict[t.Any, t.List[Given]] = {}
    for one in volumes:
        if name(one):
            named.setdefault(name(one), []).append(one)
    return {key: ones[0] for key, ones in named.items() if len(ones) == 1}


def _audited(old: Given, new: Given, narrower: bool) -> t.Optional[t.Tuple[str, Json]]:
    failed = [one["state"] == "failed" for one in (old, new)]
    if any(failed):
        if all(failed):
            return None
        return (
            (WORSE, {"notes": ["could not be audited"]}) if failed[1] else (CHANGED, {"notes": ["was audited again"]})
        )
    appeared, went = _difference(old["findings"], new["findings"]), _difference(new["findings"], old["findings"])
    if narrower:  # a clone is found only if both of its hosts answer
        went = [one for one in went if one[0] not in FLEET_RULES]
    another = [word for name, word in _BASIS.items() if old["basis"].get(name) != new["basis"].get(name)]
    notes = [f"audited with another {word}" if word == "policy" else f"audited with other {word}" for word in another]
    if any(rule == "secret-age" and not unverified for rule, _slot, _severity, unverified in appeared):
        notes.append("became overdue")
    if old["fingerprint"] != new["fingerprint"] and old["fingerprint"] and new["fingerprint"]:
        notes.append("its header changed")
    if not (appeared or went or notes or old["state"] != new["state"]):
        return None
    more, less = sorted(map(_weight, appeared)), sorted(map(_weight, went))
    if more and (not less or more < less):
        word = WORSE
    elif less and (not more or less < more):
        # A finding that another policy would not look for is not one that was mended.
        word = CHANGED if another else BETTER
    else:
        word = CHANGED
    return word, {"appeared": [_told(one) for one in appeared], "went": [_told(one) for one in went], "notes": notes}


def _difference(fewer: t.Sequence[t.Any], more: t.Sequence[t.Any]) -> t.List[t.Tuple[t.Any, ...]]:
    counts = collections.Counter(map(tuple, more)) - collections.Counter(map(tuple, fewer))
    return sorted(counts.elements(), key=lambda one: (_weight(one), one[0], -1 if one[1] is None else one[1]))


def _weight(one: t.Sequence[t.Any]) -> int:
    """Less is worse. What was found is as bad as what may be there and could not be verified."""
    return SEVERITIES.index(one[2])


def _told(one: t.Sequence[t.Any]) -> Json:
    return {"rule": one[0], "keyslot": one[1], "severity": one[2], "unverified": one[3]}


def _rotated(old: Given, new: Given) -> t.Optional[t.Tuple[str, Json]]:
    notes = []
    if new["state"] == "done":
        notes.append("rotated")
    elif new["state"] == "planned" and old["state"] != "planned":
        notes.append("became due")
    was, now = old["state"] in _BAD, new["state"] in _BAD
    if was != now:
        mended = new["state"] in ("done", "unchanged")
        return (WORSE if now else BETTER if mended else CHANGED), {"notes": notes}
    # Nothing is known of the keyslots of a volume that failed.
    strange = [] if now else sorted(set(new["unknown"]) - set(old["unknown"]))
    known = [] if now else sorted(set(old["unknown"]) - set(new["unknown"]))
    notes += [f"keyslot {number} opens with no secret that the run knew" for number in strange]
    notes += [f"keyslot {number} is no longer one that opens with no secret that the run knew" for number in known]
    if strange or known:
        return (WORSE if strange else BETTER), {"notes": notes}
    return (CHANGED, {"notes": notes}) if notes or (now and old["state"] != new["state"]) else None


def sentence(found: Given) -> str:
    """All of it in a sentence, or nothing if there was no report to compare with."""
    if found["problem"]:
        return str(found["problem"])
    if found["first"]:
        return ""
    counts = ", ".join(f"{number:,} {word}" for word, number in found["counts"].items() if number)
    when = f" of {found['generated']}" if found["generated"] else ""
    dry = ", a dry run" if found["check"] else ""
    compared = many(found["compared"], "volume")
    told = [f"Since the report{when}{dry}: {counts or 'nothing changed'} ({compared} compared)."]
    for name, one, several in (
        ("lost", "host no longer answers", "hosts no longer answer"),
        ("back", "host answers again", "hosts answer again"),
        ("not_compared", "host was not compared", "hosts were not compared"),
    ):
        number = len(found[name])
        if number:
            told.append(f"{number:,} {one if number == 1 else several}.")
    return " ".join(told)
