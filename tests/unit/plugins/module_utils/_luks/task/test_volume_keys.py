# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is no volume key and no token, and that none of it stays in memory."""

from __future__ import annotations

import base64
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadSecret, BadTask, LuksmithError
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task import volume_keys
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.secret_list import SecretList
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.volume_keys import (
    read_pin,
    read_volume_key,
    unlocking,
)

KEY = {"volume_key_base64": base64.b64encode(bytes(range(64))).decode()}


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({**KEY, "volume_key_file": "/none"}, "has more than one source: volume_key_file and volume_key_base64"),
        ({**KEY, "passphrase": "red"}, "has more than one source: passphrase and volume_key_base64"),
        ({**KEY, "keyfile_offset": 5}, "has keyfile_offset with volume_key_base64"),
        ({**KEY, "keyfile_size": 64}, "has keyfile_size with volume_key_base64"),
        ({"volume_key_base64": base64.b64encode(bytes(10_000)).decode()}, "has 10000 bytes"),
    ],
)
def test_what_is_no_volume_key(params: t.Dict[str, t.Any], says: str) -> None:
    with pytest.raises(LuksmithError, match=says):
        read_volume_key(params, "unlock[0]")


def test_a_key_of_another_length_is_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    wiped = []
    monkeypatch.setattr(volume_keys, "wipe", lambda value: wiped.append(len(value)))
    with pytest.raises(LuksmithError, match="has 10000 bytes"):
        read_volume_key({"volume_key_base64": base64.b64encode(bytes(10_000)).decode()}, "unlock[0]")
    assert wiped == [10_000]


def test_the_same_key_twice_is_one_and_the_other_is_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    right = volume_keys.read_volume_key
    monkeypatch.setattr(volume_keys, "read_volume_key", lambda *given: made.append(right(*given)) or made[-1])
    with SecretList() as secrets:
        assert unlocking(secrets, [KEY, dict(KEY)], "unlock") == ()
        assert secrets.volume_keys == [made[0]]
        assert any(made[0].value) and not any(made[1].value)


@pytest.mark.parametrize("other", [{"volume_key_base64": base64.b64encode(bytes(64)).decode()}, {"passphrase": "red"}])
def test_a_label_names_one_key_or_secret(other: t.Dict[str, str]) -> None:
    for items in ([KEY, other], [other, KEY]):
        with SecretList() as secrets, pytest.raises(BadTask, match="are different secrets with the same label 'mine'"):
            unlocking(secrets, [{**item, "label": "mine"} for item in items], "unlock")


@pytest.mark.parametrize("token", [True, False, "", "no such", "a" * 1000, -1, 1.5, [], "\n"])
def test_what_is_no_token(token: t.Any) -> None:
    with SecretList() as secrets, pytest.raises(BadTask, match=r"unlock\[0\]: token is "):
        unlocking(secrets, [{"token": token}], "unlock")


@pytest.mark.parametrize("token", [3, "3", "auto", "clevis"])
def test_a_token(token: t.Any) -> None:
    with SecretList() as secrets:
        (number,) = unlocking(secrets, [{"token": token}], "unlock")
        request = secrets.members[number].token
        assert request is not None and request.name == str(token)


@pytest.mark.parametrize("pin", ["1" * 1025, "12\n34"], ids=["too long", "two lines"])
def test_a_pin_that_is_none_is_wiped(pin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wiped = []
    monkeypatch.setattr(volume_keys, "wipe", lambda value: wiped.append(bytes(value)))
    with pytest.raises(BadSecret, match=f"pin has {len(pin)} bytes"):
        read_pin(pin, "unlock[0]")
    assert wiped == [pin.encode()]
