# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests for results of keyslots_info and audit. What a result does not prove is an error, neither true nor false."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

Result = t.Mapping[str, t.Any]


def opened_by(result: t.Any, *labels: str, **named: t.Any) -> bool:
    """Whether every secret with one of ``labels`` opens the volume. Raises AnsibleFilterError if that is not known."""
    name = "opened_by"
    rows = _rows(result, name)
    _check_labels(result, rows, labels, named, name)
    found = {label for row in rows if not row.get("recorded") for label in row["opened_by"]}
    missing = [label for label in labels if label not in found]
    if missing:
        _check_tried(result, rows, name)
        for below in _beneath(result, name):
            for label in set(missing).intersection(below["opened_by"]):
                raise AnsibleFilterError(
                    f"{name}: {label!r} opens the {below['role']} {below['path']} and not {_volume(result)} itself, so "
                    "that neither answer is the whole truth"
                )
    return not missing


def only_opened_by(result: t.Any, *labels: str, **named: t.Any) -> bool:
    """Whether these secrets open the volume and nothing else does: each label a keyslot, each keyslot a label."""
    name = "only_opened_by"
    rows = _rows(result, name)
    _check_labels(result, rows, labels, named, name)
    found = {label for row in rows for label in row["opened_by"]}
    if any(not set(row["opened_by"]).intersection(labels) for row in rows if row["opened_by"] or row["tried"]):
        return False
    _check_tried(result, rows, name)
    for below in _beneath(result, name):
        if below["encrypted"] is False or below.get("unknown") or not set(labels).issuperset(below["opened_by"]):
            return False
    return found == set(labels)


def compliant_with(result: t.Any, policy: t.Any = None, **named: t.Any) -> bool:
    """Whether audit found the volume compliant with the policy of this name, and could prove it."""
    name = "compliant_with"
    _check_result(result, name, "compliant", "luksmith.luks.audit")
    if not isinstance(policy, str) or not policy or named:
        raise AnsibleFilterError(f"{name}: give the name of the policy, such as {name}('strict')")
    if result["policy"] != policy:
        raise AnsibleFilterError(
            f"{name}: {_volume(result)} was audited with the policy {result['policy']!r}, not with {policy!r}"
        )
    if not result["compliant"]:
        return False
    if result.get("verified") is False:
        raise AnsibleFilterError(
            f"{name}: the audit of {_volume(result)} trusted the record in the header, which proves nothing. "
            "Audit with verify: proof"
        )
    return True


def _rows(result: t.Any, name: str) -> t.List[Result]:
    """The active keyslots that are bound to the volume."""
    _check_result(result, name, "keyslots", "luksmith.luks.keyslots_info, or of luksmith.luks.audit with device")
    return [row for row in result["keyslots"] if row["state"] == "active" and row["bound"]]


def _check_result(result: t.Any, name: str, member: str, module: str) -> None:
    if not isinstance(result, t.Mapping):
        raise AnsibleFilterError(f"{name} needs a result of {module}")
    if result.get("failed") or result.get("skipped"):
        state = "failed" if result.get("failed") else "was skipped"
        raise AnsibleFilterError(f"{name}: the task {state}, so that it shows nothing about the volume")
    if isinstance(result.get("results"), list):
        raise AnsibleFilterError(f"{name}: this is the result of a loop. Test each item of its results")
    if member not in result:
        raise AnsibleFilterError(f"{name} needs a result of {module}. This one has no {member}")


def _check_labels(
    result: Result, rows: t.Sequence[Result], labels: t.Sequence[t.Any], named: t.Mapping[str, t.Any], name: str
) -> None:
    if named or not labels or not all(isinstance(label, str) and label for label in labels):
        raise AnsibleFilterError(
            f"{name}: give one label or several, each as text of its own, such as {name}('admin', 'break-glass')"
        )
    tried = result.get("opened_by")
    # A result of audit does not list the secrets that open nothing.
    known = set(tried) if isinstance(tried, t.Mapping) else {label for row in rows for label in row["opened_by"]}
    for label in labels:
        if label not in known:
            raise AnsibleFilterError(
                f"{name}: no secret with the label {label!r} was tried on {_volume(result)}. "
                f"Labels of secrets there are {', '.join(sorted(known)) or 'none'}"
            )


def _check_tried(result: Result, rows: t.Sequence[Result], name: str) -> None:
    for row in rows:
        if not row["opened_by"] and not row["tried"]:
            raise AnsibleFilterError(
                f"{name}: keyslot {row['keyslot']} of {_volume(result)} could not be tried, "
                "so that what opens it is not known"
            )
        if row.get("recorded"):
            raise AnsibleFilterError(
                f"{name}: keyslot {row['keyslot']} of {_volume(result)} was not tried. The record in the header proves "
                "nothing; audit with verify: proof"
            )


def _beneath(result: Result, name: str) -> t.List[Result]:
    """What else opens data of the volume: backing files, and the header of a device beside a detached one."""
    chain = [below for below in result.get("chain") or () if below["role"] in ("backing", "device")]
    for below in chain:
        if below["encrypted"] is not False and "why_untried" in below:
            raise AnsibleFilterError(
                f"{name}: the {below['role']} {below['path']} of {_volume(result)} could not be tried, so that what "
                f"opens it is not known: {below['why_untried']}"
            )
    return chain


def _volume(result: Result) -> str:
    invocation = result.get("invocation")
    arguments = invocation.get("module_args", {}) if isinstance(invocation, t.Mapping) else {}
    return str(result.get("device") or arguments.get("device") or result.get("uuid") or "the volume")


class TestModule:
    """The tests of this collection, for Ansible."""

    __test__ = False  # for pytest

    def tests(self) -> t.Dict[str, t.Callable[..., bool]]:
        return {"opened_by": opened_by, "only_opened_by": only_opened_by, "compliant_with": compliant_with}
