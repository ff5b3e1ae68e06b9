# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import collections
import gzip
import os
import pathlib
import re
import subprocess

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation import passphrase


@pytest.mark.parametrize(
    ("form", "entropy", "pattern", "bits"),
    [
        ("base32", 128, r"[0-9a-hjkmnp-tv-z]{4}(-[0-9a-hjkmnp-tv-z]{4}){6}", 140),
        ("base32", 140, r"[0-9a-z]{4}(-[0-9a-z]{4}){6}", 140),
        ("base32", 141, r"[0-9a-z]{4}(-[0-9a-z]{4}){7}", 160),
        ("modhex", 128, r"[cbdefghijklnrtuv]{32}", 128),
        ("modhex", 256, r"[cbdefghijklnrtuv]{64}", 256),
        ("recovery", 64, r"[cbdefghijklnrtuv]{8}(-[cbdefghijklnrtuv]{8}){7}", 256),
        ("recovery", 257, r"[cbdefghijklnrtuv]{8}(-[cbdefghijklnrtuv]{8}){8}", 288),
    ],
)
def test_shape_and_stated_entropy(form: str, entropy: int, pattern: str, bits: int) -> None:
    assert re.fullmatch(pattern, passphrase.make(form, entropy))
    assert passphrase.bits(form, entropy) == bits >= entropy


def _shape(text: str) -> str:
    return re.sub(r"[cbdefghijklnrtuv]", "x", text)


@pytest.mark.needs("systemd-cryptenroll")
def test_the_form_of_a_recovery_key(tmp_path: pathlib.Path) -> None:
    """One of systemd's own is the measure."""
    root = pathlib.Path(__file__).resolve().parents[5]
    volume = tmp_path / "volume"
    volume.write_bytes(gzip.decompress((root / "tests" / "fixtures" / "luks2.img.gz").read_bytes()))
    done = subprocess.run(
        ["systemd-cryptenroll", "--recovery-key", str(volume)],
        env={**os.environ, "PASSWORD": "winter-2025"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = done.stdout.strip()
    assert len(theirs) == 71
    assert _shape(passphrase.make("recovery", 128)) == _shape(theirs)


@pytest.mark.parametrize("form", passphrase.FORMS)
def test_every_symbol_is_as_likely_as_any_other(form: str) -> None:
    alphabet = passphrase.FORMS[form].alphabet
    assert len(set(alphabet)) == len(alphabet) == 2 ** passphrase.FORMS[form].bits_per_symbol
    drawn = collections.Counter("".join(passphrase.make(form, 512) for _number in range(200)).replace("-", ""))
    assert set(drawn) == set(alphabet)
    expected = sum(drawn.values()) / len(alphabet)
    assert all(0.7 * expected < count < 1.3 * expected for count in drawn.values()), drawn


@pytest.mark.parametrize(("form", "entropy", "says"), [("words", 128, "base32, modhex"), ("base32", 63, "too few")])
def test_refusals(form: str, entropy: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        passphrase.make(form, entropy)
