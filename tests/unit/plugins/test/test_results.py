# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test plugins say true or false only where the result proves it."""

from __future__ import annotations

import copy
import pathlib
import typing as t

import pytest

errors = pytest.importorskip("ansible.errors")
yaml = pytest.importorskip("yaml")

from ansible_collections.luksmith.luks.plugins.test.results import TestModule as Plugins
from ansible_collections.luksmith.luks.plugins.test.results import compliant_with, only_opened_by, opened_by

FOLDER = pathlib.Path(__file__).resolve().parents[4] / "plugins" / "test"


def row(number: int, *labels: str, **more: t.Any) -> t.Dict[str, t.Any]:
    return {
        "keyslot": number,
        "state": "active",
        "bound": True,
        "opened_by": list(labels),
        "tried": True,
        "tokens": [],
        **more,
    }


def info(*rows: t.Dict[str, t.Any], tried: t.Sequence[str] = ("admin", "leaked", "glass")) -> t.Dict[str, t.Any]:
    found = {label: [one["keyslot"] for one in rows if label in one["opened_by"]] for label in tried}
    return {"changed": False, "uuid": "4b543c86", "keyslots": list(rows), "opened_by": found}


INACTIVE = {**row(3), "state": "inactive", "tried": False}
TWO = info(row(0, "admin"), row(1, "glass"), INACTIVE)


@pytest.mark.parametrize(
    "result, labels, opens, only",
    [
        (TWO, ["admin"], True, False),
        (TWO, ["admin", "glass"], True, True),
        (TWO, ["leaked"], False, False),
        (TWO, ["admin", "leaked"], False, False),
        (info(row(0, "admin"), row(1, "leaked", bound=False)), ["leaked"], False, False),
        (info(row(0, "admin"), row(1, "leaked", bound=False)), ["admin"], True, True),
        (info(row(0, "admin"), row(1, tokens=["clevis"])), ["admin"], True, False),
        (info(), ["admin"], False, False),
    ],
)
def test_what_is_proven(result: t.Any, labels: t.List[str], opens: bool, only: bool) -> None:
    assert opened_by(result, *labels) is opens
    assert only_opened_by(result, *labels) is only


def beneath(*labels: str, unknown: t.Sequence[int] = (), **more: t.Any) -> t.Dict[str, t.Any]:
    """TWO, as an image over an encrypted file."""
    below = {"path": "/b", "role": "backing", "format": "qcow2", "encrypted": True, "opened_by": list(labels)}
    return {**TWO, "chain": [{**below, "unknown": list(unknown), **more}]}


def test_a_file_beneath_that_another_secret_opens() -> None:
    assert only_opened_by(beneath("admin"), "admin", "glass") and opened_by(beneath("leaked"), "admin")
    for other in (beneath("admin", "leaked"), beneath("admin", unknown=[1]), beneath(unknown=[0])):
        assert not only_opened_by(other, "admin", "glass")
    plain = beneath(encrypted=False)
    del plain["chain"][0]["unknown"]
    assert not only_opened_by(plain, "admin", "glass")
    for role in ("backing", "device"):
        with pytest.raises(errors.AnsibleFilterError, match=f"'leaked' opens the {role} .*/b"):
            opened_by(beneath("leaked", role=role), "leaked")
    assert not opened_by(beneath("admin"), "leaked")


@pytest.mark.parametrize("test", [opened_by, only_opened_by])
@pytest.mark.parametrize("encrypted", [True, None])
def test_a_file_beneath_that_was_not_tried(test: t.Callable[..., bool], encrypted: t.Optional[bool]) -> None:
    unseen = beneath(encrypted=encrypted, why_untried="No such file or directory")
    labels = ("leaked",) if test is opened_by else ("admin", "glass")
    with pytest.raises(errors.AnsibleFilterError, match=r"/b .*could not be tried.*No such file"):
        test(unseen, *labels)


UNTRIED = info(row(0, "admin"), row(1, tried=False))
AUDIT = {
    "device": "/dev/sdb",
    "compliant": True,
    "verified": True,
    "policy": "strict",
    "keyslots": [row(0, "admin", recorded=False)],
}
NOT_PROVEN: t.Dict[str, t.Tuple[t.Any, t.Tuple[t.Any, ...], str]] = {
    "no label": (TWO, (), "give one label or several, each as text of its own, such as"),
    "a label and something else": (TWO, ("admin", 1), "give one label or several, each as text of its own, such as"),
    "an empty label": (TWO, ("",), "give one label or several, each as text of its own, such as"),
    "a list of labels": (TWO, (["admin"],), "give one label or several, each as text of its own, such as"),
    "a label that was not tried": (TWO, ("admn",), "no secret with the label 'admn' was tried on 4b543c86"),
    "a keyslot that was not tried": (UNTRIED, ("admin", "leaked"), "keyslot 1 of 4b543c86 could not be tried"),
    "a failed task": ({**TWO, "failed": True}, ("admin",), "the task failed"),
    "a skipped task": ({"skipped": True}, ("admin",), "was skipped"),
    "a loop": ({"results": [TWO]}, ("admin",), "Test each item of its results"),
    "another result": ({"changed": True, "plan": []}, ("admin",), "has no keyslots"),
    "a text": ("admin", ("admin",), "needs a result of luksmith.luks.keyslots_info"),
    "an audit, which lists no labels": (AUDIT, ("leaked",), "no secret with the label 'leaked'"),
    "an audit by the record": (
        {**AUDIT, "keyslots": [row(0, "admin", recorded=True)]},
        ("admin",),
        "of /dev/sdb was not tried",
    ),
}


@pytest.mark.parametrize("test", [opened_by, only_opened_by])
@pytest.mark.parametrize("case", NOT_PROVEN)
def test_what_is_not_proven_is_an_error(case: str, test: t.Callable[..., bool]) -> None:
    result, labels, told = NOT_PROVEN[case]
    with pytest.raises(errors.AnsibleFilterError) as caught:
        test(copy.deepcopy(result), *labels)
    assert told in str(caught.value) and test.__name__ in str(caught.value)


def test_a_keyslot_that_was_not_tried_hides_nothing_that_is_open() -> None:
    assert opened_by(UNTRIED, "admin")


def test_a_result_of_audit() -> None:
    assert opened_by(AUDIT, "admin") and only_opened_by(AUDIT, "admin")
    assert compliant_with(AUDIT, "strict")
    assert not compliant_with({**AUDIT, "compliant": False, "verified": False}, "strict")


@pytest.mark.parametrize(
    "result, policy, told",
    [
        (AUDIT, "legacy", "'strict', not with 'legacy'"),
        (AUDIT, "", "give the name of the policy"),
        ({**AUDIT, "verified": False}, "strict", "trusted the record"),
        ({**AUDIT, "failed": True}, "strict", "the task failed"),
        (TWO, "strict", "has no compliant"),
    ],
)
def test_compliance_that_is_not_proven_is_an_error(result: t.Any, policy: str, told: str) -> None:
    with pytest.raises(errors.AnsibleFilterError, match=told):
        compliant_with(result, policy)


def test_every_test_is_documented() -> None:
    documented = {path.stem: yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yml")}
    assert set(documented) == set(Plugins().tests())
    for name, page in documented.items():
        assert page["DOCUMENTATION"]["name"] == name and f"luksmith.luks.{name}(" in page["EXAMPLES"]


def test_what_has_a_name_is_refused() -> None:
    """As in ``info is luksmith.luks.opened_by(label='admin')``."""
    for test in (opened_by, only_opened_by):
        with pytest.raises(errors.AnsibleFilterError, match=r"such as \w+\('admin', 'break-glass'\)"):
            test(TWO, label="admin")
    for arguments in ({"name": "strict"}, {}):
        with pytest.raises(errors.AnsibleFilterError, match="give the name of the policy, such as"):
            compliant_with(AUDIT, **arguments)
