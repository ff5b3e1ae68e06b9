# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers and names of secrets: the same bytes are one secret, and no two secrets share a name."""

from __future__ import annotations

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.secret_list import SecretList


def test_the_same_bytes_are_one_secret_with_all_its_labels() -> None:
    secrets = SecretList()
    assert secrets.number_of({"passphrase": "abc"}, "unlock[0]") == 0
    assert secrets.number_of({"passphrase": "other"}, "unlock[1]") == 1
    assert secrets.number_of({"passphrase_base64": "YWJj", "label": "next"}, "keyslots[0].new_secret") == 0
    assert secrets.number_of({"passphrase": "abc", "label": "again"}, "keyslots[1].new_secret") == 0
    assert secrets.number_of({"passphrase": "abc", "label": "next"}, "keyslots[2].new_secret") == 0
    assert secrets.labels() == ("next", "unlock[1]")
    assert secrets.members[0].labels == ("next", "again")


def test_bytes_that_differ_in_a_newline_or_a_nul_are_two_secrets() -> None:
    secrets = SecretList()
    assert [
        secrets.number_of({"passphrase": text}, f"unlock[{index}]")
        for index, text in enumerate(("a", "a\n", "a\0", ""))
    ] == [0, 1, 2, 3]


def test_one_label_on_two_secrets_is_refused_and_names_both_places() -> None:
    secrets = SecretList()
    secrets.number_of({"passphrase": "alpha", "label": "x"}, "unlock[0]")
    with pytest.raises(BadTask) as caught:
        secrets.number_of({"passphrase": "beta", "label": "x"}, "keyslots[3].old_secret")
    assert "unlock[0] and keyslots[3].old_secret" in caught.value.found
    assert "alpha" not in str(caught.value)
    assert "beta" not in str(caught.value)


def test_a_label_that_reads_like_another_secrets_place_is_refused() -> None:
    secrets = SecretList()
    secrets.number_of({"passphrase": "alpha"}, "unlock[0]")
    secrets.number_of({"passphrase": "beta", "label": "unlock[0]"}, "unlock[1]")
    with pytest.raises(BadTask):
        secrets.labels()


def test_a_label_that_is_a_secret_is_not_used() -> None:
    secrets = SecretList()
    secrets.number_of({"passphrase": "hunter2", "label": "hunter2"}, "unlock[0]")
    secrets.number_of({"passphrase": "other", "label": "fine"}, "unlock[1]")
    assert secrets.labels() == ("unlock[0]", "fine")
    assert len(secrets.warnings()) == 1
    assert "hunter2" not in secrets.warnings()[0]


def test_the_same_warning_is_given_once() -> None:
    secrets = SecretList()
    secrets.number_of({"passphrase": "a\n", "label": "x"}, "unlock[0]")
    secrets.number_of({"passphrase": "a\n", "label": "x"}, "unlock[0]")
    assert len(secrets.warnings()) == 1


def test_secrets_are_wiped_at_the_end_unless_handed_over() -> None:
    with SecretList() as secrets:
        secrets.number_of({"passphrase": "abc"}, "unlock[0]")
        dropped = secrets.members[0].value
    assert dropped == bytes(3)
    with SecretList() as secrets:
        secrets.number_of({"passphrase": "abc"}, "unlock[0]")
        kept = secrets.handed_over()
    assert kept[0].value == b"abc"
