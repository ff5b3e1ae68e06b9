# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The data of a fleet report: what hosts sent, reduced to what is known here and made safe to show.

Hosts are not trusted: a label, a token type or a device name may hold anything. Only members that are named here go
into a report, each of the kind that it must have, and characters that a person cannot see (controls, direction marks)
are spelled out.
"""

from __future__ import annotations

import collections
import typing as t

from ...module_utils._luks.audit.policy import SEVERITIES, worst
from ...module_utils._luks.errors import BadTask
from . import fleet_rules, outcomes
from .verdict import of_audit

Report = t.Dict[str, t.Any]

VERSION = 1
AUDIT, ROTATION = KINDS = ("audit", "rotation")
# In the order in which a person wants to see them.
STATES = {
    AUDIT: ("failed", "findings", "unverified", "recorded", "compliant"),
    ROTATION: ("failed", "partial", "refused", "running", "waiting", "planned", "done", "unchanged"),
}
# Of a host in a rotation; one that was asked to the end wins over one that was not, where two reports are joined.
HOST_STATES = ("beyond", "waiting", "asking", "interrupted", "lost", "answered")
BEYOND, WAITING, ASKING, INTERRUPTED, LOST, ANSWERED = HOST_STATES
_TIMES = {"began": str, "ended": str}
_LONGEST = 4000  # characters of one text

_ROW = {
    "keyslot": int,
    "state": str,
    "bound": bool,
    "priority": str,
    "tried": bool,
    "reason": str,
    "recorded": bool,
    "changed": str,
    "age_days": int,
    "mark": str,
}
_FILE = {"path": str, "role": str, "format": str, "encrypted": bool, "why_untried": str}
_UNKNOWN = {"keyslot": int, "label": str, "tried": bool, "reason": str}
_FINDING = {"rule": str, "severity": str, "keyslot": int, "message": str, "remedy": str}
_ACTION = {"action": str, "keyslot": int, "label": str, "reason": str}
# Members of ``evidence``; the policy of each volume is kept once for its host, by its digest.
# Whether the store of a rotation opens the volume, in words, the best first.
STORE_OPENS = ("yes", "by record", "not verified", "no secret", "no")
_STORE_LISTS = ("older", "kept")
_AUDITED = {"tool": str, "time": str, "host": str, "verify": str, "policy_digest": str}
_SEARCHED = {"block_devices": bool, "allow_empty": bool}
_LABELS = ("labels", "forbidden_labels", "backups")
_LOOKED = {
    **dict.fromkeys(("fips", "grub", "volume_key", "empty_secret", "record", "store"), bool),
    **dict.fromkeys(("forbidden", "backups", "older", "kept"), int),
}
_DEEPEST = 6
_VOLUME = {
    "device": str, "header": str, "uuid": str, "type": str, "container": str, "label": str, "cipher": str,
    "key_size": int, "slot_count": int,
    "state": str, "msg": str, "policy": str, "verified": bool, "kdf_evaluations": int, "phase": str,
    "fingerprint": str, "key_digest": str, "group": str,
}  # fmt: skip


def build(
    hosts: t.Any,
    *,
    kind: str = AUDIT,
    title: str = "",
    generated: str = "",
    run: t.Optional[t.Mapping[str, t.Any]] = None,
    since: t.Optional[t.Callable[[t.Sequence[Report]], Report]] = None,
    scope: t.Optional[t.Mapping[str, t.Any]] = None,
    files: t.Optional[t.Mapping[str, str]] = None,
) -> Report:
    """A report of ``hosts`` (the data contract is in docs/report.md); ``generated``: time of the report as text;
    ``run``: what is known of the run of a rotation as a whole; ``since``: what changed since the last report, from the
    hosts of this one; ``scope``: hosts of the inventory (``inventory``, a number) and of the play (``targets``,
    names), without regard to --limit; ``files``: the names of the files of the report, by their form.

    Raises BadTask for what is no list of hosts. A host that comes twice (from two shards) keeps the volumes of both.
    """
    ordered = hosts_of(hosts, kind)
    if kind == AUDIT:
        fleet_rules.judge(ordered)
        _blame_for_nothing(ordered)
    for host in ordered:
        for volume in host["volumes"]:
            volume.pop("prints", None)  # they are of this run, and not for people
    report = {
        "version": VERSION,
        "kind": kind,
        "title": shown(title) or ("Audit of LUKS volumes" if kind == AUDIT else "Rotation of LUKS volumes"),
        "generated": shown(generated),
        "totals": totals(ordered, kind),
        "hosts": ordered,
    }
    if scope is not None:
        report["scope"] = _scope(scope, ordered)
    if files:
        report["files"] = _texts(files)
    if run is not None:
        report["run"] = of_run(run, report)
    if kind == AUDIT:
        report["verdict"] = of_audit(report)
        report["rules"] = outcomes.counted(report)
    if since is not None:
        report["since"] = since(ordered)
    return report


def hosts_of(hosts: t.Any, kind: str) -> t.List[Report]:
    """The hosts made safe to show, each once, in order. Raises BadTask as :func:`build` does."""
    if kind not in KINDS:
        raise BadTask(f"kind is {kind!r}", remedy=f"Use one of {', '.join(KINDS)}")
    if not isinstance(hosts, (list, tuple)) or not all(isinstance(host, t.Mapping) for host in hosts):
        raise BadTask(
            "hosts is no list of dictionaries", remedy="Give one dictionary for each host, with host and volumes"
        )
    merged: t.Dict[str, t.Dict[str, t.Any]] = {}
    for host in hosts:
        one = _host(host, kind)
        present = merged.get(one["host"])
        merged[one["host"]] = one if present is None else _joined(present, one)
    return [merged[name] for name in sorted(merged)]


def totals(hosts: t.Sequence[t.Mapping[str, t.Any]], kind: str) -> t.Dict[str, t.Any]:
    """Counts of hosts, volumes by state, findings by severity, and volumes by their worst finding."""
    volumes = [volume for host in hosts for volume in host["volumes"]]
    states = collections.Counter(volume["state"] for volume in volumes)
    findings = collections.Counter(finding["severity"] for volume in volumes for finding in volume["findings"])
    asked = collections.Counter(host.get("state") for host in hosts)
    stores = collections.Counter(volume["store"]["opens"] for volume in volumes if "store" in volume)
    return {
        "hosts": len(hosts),
        **({"hosts_by_state": {state: asked[state] for state in HOST_STATES}} if kind == ROTATION else {}),
        **({"unknown": sum(len(volume.get("unknown", ())) for volume in volumes)} if kind == ROTATION else {}),
        "hosts_without_answer": sum(1 for host in hosts if host["error"]),
        "volumes": len(volumes),
        "states": {state: states[state] for state in STATES[kind]},
        "findings": {severity: findings[severity] for severity in SEVERITIES},
        "unverified": sum(len(volume["unverified"]) for volume in volumes),
        **({"store": {answer: stores[answer] for answer in STORE_OPENS}} if stores else {}),
    }


_RUN = {"id": str, "check": bool, "began": str, "who": str, "controller": str, "store": str, "ended": str}
# Verdicts over a whole run, the worst first.
FAILED, INCOMPLETE, PLANNED, DONE = VERDICTS = ("failed", "incomplete", "planned", "done")
_BAD = ("failed", "partial", "refused")


def of_run(run: t.Mapping[str, t.Any], report: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """What is known of the run, and the verdict over its hosts so far."""
    one = {"check": False, "ended": None, **_known(run, _RUN)}
    one["versions"] = _texts(run["versions"]) if isinstance(run.get("versions"), t.Mapping) else {}
    one["options"] = _texts(run["options"]) if isinstance(run.get("options"), t.Mapping) else {}
    one["differ"] = [shown(name) for name in _list(run, "differ") if isinstance(name, str)]
    totals = report["totals"]
    missing = totals["hosts_by_state"]
    unanswered = any(missing[state] for state in (WAITING, ASKING, INTERRUPTED))
    if unanswered:
        one["ended"] = None  # a part that never began ends no run
    if totals["hosts_without_answer"] or any(totals["states"][state] for state in _BAD):
        one["verdict"] = FAILED
    elif unanswered:
        one["verdict"] = INCOMPLETE
    else:
        one["verdict"] = PLANNED if one["check"] else DONE
    return one


def _scope(scope: t.Mapping[str, t.Any], hosts: t.Sequence[Report]) -> Report:
    """What the report covers of the inventory and of the play."""
    targets = {shown(name) for name in _list(scope, "targets")}
    beyond = sorted(targets.difference(host["host"] for host in hosts))
    return {"inventory": scope["inventory"], "targets": len(targets), "beyond": beyond}


def joined_run(parts: t.Mapping[str, t.Mapping[str, t.Any]]) -> t.Optional[t.Dict[str, t.Any]]:
    """What is known of a run that was made in parts, from the reports of these (path -> report); None where one of them
    knows nothing of its run. What they do not agree on is left out, or named in ``differ``.

    Raises BadTask if a dry run is among real ones: its hosts would look like those that were rotated.
    """
    runs = [report.get("run") for report in parts.values()]
    if not runs or not all(isinstance(run, t.Mapping) for run in runs):
        return None
    known = t.cast(t.List[t.Mapping[str, t.Any]], runs)
    dry = [path for path, run in zip(parts, known) if run.get("check") is True]
    if dry and len(dry) < len(parts):
        raise BadTask(
            f"{dry[0]} is the report of a dry run, and {next(path for path in parts if path not in dry)} is not",
            remedy="Give only reports of dry runs, or only of others",
        )
    one: t.Dict[str, t.Any] = {"check": bool(dry)}
    for name in ("who", "controller", "store"):
        if all(run.get(name) == known[0].get(name) for run in known):
            one[name] = known[0].get(name)
    began = [run.get("began") for run in known]
    if all(isinstance(moment, str) for moment in began):
        one["began"] = min(t.cast(t.List[str], began))
    ended = [run.get("ended") for run in known]
    one["ended"] = max(t.cast(t.List[str], ended)) if all(isinstance(moment, str) for moment in ended) else None
    one["versions"], _other = _agreed(known, "versions")
    one["options"], differ = _agreed(known, "options")
    told = {name for run in known for name in _list(run, "differ") if isinstance(name, str)}
    one["differ"] = sorted(told.union(differ))
    return one


def _agreed(runs: t.Sequence[t.Mapping[str, t.Any]], member: str) -> t.Tuple[t.Dict[str, str], t.Set[str]]:
    """The texts of ``member`` that are the same in all runs, and the names of the others."""
    texts = [_texts(run[member]) if isinstance(run.get(member), t.Mapping) else {} for run in runs]
    common = {name: text for name, text in texts[0].items() if all(other.get(name) == text for other in texts)}
    return common, {name for one in texts for name in one}.difference(common)


def shown(text: t.Any) -> str:
    """``text`` on one line of visible characters: others are spelled as escapes, and what is endless is cut."""
    if not isinstance(text, str):
        return ""
    cut = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "backslashreplace").decode("ascii")
        for character in cut
    )


def _host(host: t.Mapping[str, t.Any], kind: str) -> t.Dict[str, t.Any]:
    name = shown(host.get("host"))
    if not name:
        raise BadTask("a host of the report has no name", remedy="Give each its inventory_hostname as host")
    volumes = host.get("volumes") or ()
    if not isinstance(volumes, (list, tuple)):
        raise BadTask(
            f"the volumes of host {name!r} are no list", remedy="Give a list of dictionaries with device and state"
        )
    policies = host.get("policies")
    kept = {shown(key): plain(policy) for key, policy in policies.items()} if isinstance(policies, t.Mapping) else {}
    one: t.Dict[str, t.Any] = {"host": name, "error": shown(host.get("error")) or None}
    if kind == ROTATION:
        state = host.get("state")
        one["state"] = state if state in HOST_STATES else ANSWERED
        if one["error"] and one["state"] == ANSWERED:
            one["state"] = LOST
        one.update(_known(host, _TIMES))
        if isinstance(host.get("options"), t.Mapping):
            one["options"] = _texts(host["options"])
    one["volumes"] = [_volume(volume, kind, kept) for volume in volumes if isinstance(volume, t.Mapping)]
    one["policies"] = kept
    one["excluded"] = [
        {"volume": "?", "reason": "", **_known(left, {"volume": str, "reason": str})}
        for left in _dictionaries(host, "excluded")
    ]
    if kind == AUDIT and isinstance(host.get("searched"), t.Mapping):
        one["searched"] = _searched(host["searched"])
    return one


def _joined(present: t.Dict[str, t.Any], one: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    """Two parts of one host: the later one counts, unless the host was not even asked there."""
    known = {(volume["device"], volume.get("header")) for volume in one["volumes"]}
    kept = [volume for volume in present["volumes"] if (volume["device"], volume.get("header")) not in known]
    older = "state" in one and _rank(one["state"]) < _rank(present["state"])
    return {
        **(present if older else one),
        "volumes": kept + one["volumes"],
        "policies": {**present["policies"], **one["policies"]},
        "excluded": one["excluded"] or present["excluded"],
    }


def _rank(state: str) -> int:
    return min(HOST_STATES.index(state), HOST_STATES.index(LOST))


def _searched(searched: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Where the host was to look for volumes, and which patterns led to none."""
    one = {"block_devices": False, "allow_empty": False, **_known(searched, _SEARCHED)}
    lists = ("paths", "volumes", "unmatched")
    one.update({name: [shown(text) for text in _list(searched, name) if isinstance(text, str)] for name in lists})
    return one


def is_partial(host: t.Mapping[str, t.Any]) -> bool:
    """Whether a host with an error has answered all the same."""
    return bool(host["volumes"] or host.get("searched"))


def _blame_for_nothing(hosts: t.Sequence[Report]) -> None:
    """A pattern that led to no volume on any host is an error of each host that was to follow it.

    One that led to some elsewhere is not: the hosts of a fleet share patterns.
    """
    searched = [(host, host["searched"]) for host in hosts if "searched" in host]
    matched = {pattern for _host, one in searched for pattern in one["paths"] if pattern not in one["unmatched"]}
    for host, one in searched:
        missing = [pattern for pattern in one["unmatched"] if pattern not in matched]
        if missing and not one["allow_empty"]:
            told = f"no host of the play has a LUKS volume for these patterns of audit_paths: {', '.join(missing)}"
            if told not in (host["error"] or ""):
                host["error"] = "; ".join(filter(None, (host["error"], told)))


def _texts(source: t.Mapping[t.Any, t.Any]) -> t.Dict[str, str]:
    return {shown(name): shown(value) for name, value in source.items() if isinstance(value, str) and shown(name)}


def plain(value: t.Any, depth: int = 0) -> t.Any:
    """``value`` as data that is safe to show: dictionaries, lists, texts, numbers, and nothing deeper than a policy."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, t.Mapping) and depth < _DEEPEST:
        return {shown(str(key)): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and depth < _DEEPEST:
        return [plain(item, depth + 1) for item in value]
    return shown(value)


def _audited(volume: t.Mapping[str, t.Any], policies: t.Dict[str, t.Any]) -> t.Optional[t.Dict[str, t.Any]]:
    """What makes the audit of a volume traceable, from the module or from an earlier report."""
    source = volume.get("evidence", volume.get("audited"))
    if not isinstance(source, t.Mapping):
        return None
    one = _known(source, _AUDITED)
    one.update({name: [shown(item) for item in _list(source, name) if isinstance(item, str)] for name in _LABELS})
    policy = source.get("policy")
    if isinstance(policy, t.Mapping):
        one["policy_digest"] = shown(policy.get("digest"))
        policies[one["policy_digest"]] = plain(policy)
    return one


def _volume(volume: t.Mapping[str, t.Any], kind: str, policies: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    one = _known(volume, _VOLUME)
    audited = _audited(volume, policies)
    if audited is not None:
        one["audited"] = audited
    one.setdefault("device", "?")
    if one.get("state") not in STATES[kind]:
        one["state"] = STATES[kind][0]
    if one["state"] == "compliant" and one.get("verified") is False:
        one["state"] = "recorded"  # a host that says both has proven nothing
    for name in ("findings", "unverified"):
        one[name] = [_finding(finding) for finding in _dictionaries(volume, name)]
    one["worst"] = worst(finding["severity"] for finding in one["findings"])
    for name in ("keyslots", "before", "after"):
        if name in volume or name == "keyslots":
            one[name] = [_row(row) for row in _dictionaries(volume, name)]
    for name in ("plan", "actions_done", "actions_left"):
        if name in volume:
            one[name] = [_known(action, _ACTION) for action in _dictionaries(volume, name)]
    for name in ("secrets", "closed"):
        if name in volume:
            one[name] = [shown(text) for text in _list(volume, name) if isinstance(text, str)]
    one.update(_by_the_run(volume))
    if "unknown" in volume:
        one["unknown"] = [{"keyslot": 0, **_known(row, _UNKNOWN)} for row in _dictionaries(volume, "unknown")]
    return one


def _by_the_run(volume: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """What the run knew besides: fingerprints, which :func:`build` takes out again, the answer of the store,
    and the files beneath.
    """
    found: t.Dict[str, t.Any] = {}
    if isinstance(volume.get("looked"), t.Mapping):
        found["looked"] = _known(volume["looked"], _LOOKED)
    prints = volume.get("prints")
    if isinstance(prints, t.Mapping):
        secrets = prints.get("secrets")
        texts = _texts(secrets) if isinstance(secrets, t.Mapping) else {}
        found["prints"] = {"volume_key": shown(prints.get("volume_key")), "secrets": texts}
    if isinstance(volume.get("store"), t.Mapping):
        found["store"] = _store(volume["store"])
    if "chain" in volume:
        found["chain"] = [_file(row) for row in _dictionaries(volume, "chain")]
    return found


def _store(store: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    opens = store.get("opens")
    one = {"opens": opens if opens in STORE_OPENS else "not verified", **_known(store, {"secret": str})}
    one["keyslots"] = [number for number in _list(store, "keyslots") if isinstance(number, int)]
    for name in _STORE_LISTS:
        one[name] = [shown(label) for label in _list(store, name) if isinstance(label, str)]
    return one


def _finding(finding: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    one = {"rule": "?", "keyslot": None, "message": "", "remedy": "", **_known(finding, _FINDING)}
    if one.get("severity") not in SEVERITIES:
        one["severity"] = SEVERITIES[0]
    return one


def _file(row: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """A file beneath a volume."""
    one = {"path": "?", "role": "backing", "encrypted": None, **_known(row, _FILE)}
    for name in ("opened_by", "replaced"):
        one[name] = [shown(label) for label in _list(row, name) if isinstance(label, str)]
    return one


def _row(row: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    one = {"keyslot": 0, "state": "active", **_known(row, _ROW)}
    one["opened_by"] = [shown(label) for label in _list(row, "opened_by") if isinstance(label, str)]
    one["tokens"] = [shown(kind) for kind in _list(row, "tokens") if isinstance(kind, str)]
    kdf = row.get("kdf")
    if isinstance(kdf, t.Mapping):
        one["kdf"] = _known(
            kdf,
            {
                "type": str,
                "hash": str,
                "iterations": (int, str),
                "time": (int, str),
                "memory": (int, str),
                "parallel": (int, str),
            },
        )
    return one


def _known(source: t.Mapping[str, t.Any], kinds: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    found: t.Dict[str, t.Any] = {}
    for name, kind in kinds.items():
        value = source.get(name)
        if isinstance(value, bool) != (kind is bool) or not isinstance(value, kind):
            continue
        found[name] = shown(value) if isinstance(value, str) else value
    return found


def _list(source: t.Mapping[str, t.Any], name: str) -> t.Sequence[t.Any]:
    value = source.get(name)
    return value if isinstance(value, (list, tuple)) else ()


def _dictionaries(source: t.Mapping[str, t.Any], name: str) -> t.List[t.Mapping[str, t.Any]]:
    return [item for item in _list(source, name) if isinstance(item, t.Mapping)]
