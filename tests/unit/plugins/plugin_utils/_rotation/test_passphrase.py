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
import sys

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation import passphrase

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import strategies  # noqa: E402


@pytest.mark.parametrize(
    ("form", "entropy", "pattern", "bits"),
    [
        ("base32", 128, r"[0-9a-hjkmnp-tv-z]{4}(-[0-9a-hjkmnp-tv-z]{4}){6}", 135),
        ("base32", 135, r"[0-9a-z]{4}(-[0-9a-z]{4}){6}", 135),
        ("base32", 136, r"[0-9a-z]{4}(-[0-9a-z]{4}){7}", 155),
        ("modhex", 128, r"[cbdefghijklnrtuv]{4}( [cbdefghijklnrtuv]{4}){8}", 140),
        ("modhex", 256, r"[cbdefghijklnrtuv]{4}( [cbdefghijklnrtuv]{4}){16}", 268),
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
    shape = passphrase.FORMS[form]
    assert len(set(shape.alphabet)) == len(shape.alphabet) == 2**shape.bits_per_symbol
    made = [passphrase.make(form, 512).replace(shape.separator, "") for _number in range(200)]
    drawn = collections.Counter("".join(text[:-1] if shape.checked else text for text in made))
    assert set(drawn) == set(shape.alphabet)
    expected = sum(drawn.values()) / len(shape.alphabet)
    assert all(0.7 * expected < count < 1.3 * expected for count in drawn.values()), drawn


BASE32, MODHEX = (passphrase.FORMS[form].alphabet for form in ("base32", "modhex"))


@pytest.mark.parametrize(
    ("alphabet", "text", "symbol"),
    [
        # Of bank cards, and of a description of the algorithm.
        ("0123456789", "411111111111111", "1"),
        ("0123456789", "7992739871", "3"),
        # By luhn.calc_check_digit of python-stdnum 2.2.
        (BASE32, "0123456789abcdefghjkmnpqrst", "5"),
        (BASE32, "hw2n6k0zq9pv4tjx7m3rdc8e1ys", "f"),
        (MODHEX, "cbdefghijklnrtuvvutrnlkjihgfedbccbd", "n"),
        (MODHEX, "vvvvcbcbjkjkrtrtuuuuddddhihielelngf", "h"),
    ],
)
def test_the_check_symbol_of_others(alphabet: str, text: str, symbol: str) -> None:
    assert passphrase.check_symbol(text, alphabet) == symbol


def checks(text: str, alphabet: str) -> bool:
    return passphrase.check_symbol(text[:-1], alphabet) == text[-1]


@pytest.mark.parametrize("form", ["base32", "modhex"])
@hypothesis.given(data=strategies.data())
@hypothesis.settings(max_examples=20, deadline=None)
def test_each_wrong_symbol_and_each_exchange_of_neighbours_is_noticed(form: str, data: strategies.DataObject) -> None:
    """But for one pair of the alphabet, as the documentation says."""
    shape = passphrase.FORMS[form]
    body = data.draw(strategies.text(shape.alphabet, min_size=15, max_size=40))
    text = body + passphrase.check_symbol(body, shape.alphabet)
    assert checks(text, shape.alphabet)
    blind = {shape.alphabet[0], shape.alphabet[-1]}
    for place, symbol in enumerate(text):
        wrong = [text[:place] + other + text[place + 1 :] for other in shape.alphabet if other != symbol]
        assert not any(checks(one, shape.alphabet) for one in wrong)
        pair = text[place : place + 2]
        if len(set(pair)) == 2 and set(pair) != blind:
            assert not checks(text[:place] + pair[::-1] + text[place + 2 :], shape.alphabet)


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ("base32", "type it with its hyphens; the last symbol is a check symbol (docs/rotation.md)"),
        ("modhex", "type it with its spaces; the last symbol is a check symbol (docs/rotation.md)"),
        ("recovery", "a recovery key; type it with its hyphens"),
    ],
)
def test_whoever_dictates_one_is_told_how_it_is_typed(form: str, says: str) -> None:
    made = passphrase.make(form, 128)
    assert passphrase.how_to_type(made) == says
    wrong = made[:-1] + next(one for one in passphrase.FORMS[form].alphabet if one != made[-1])
    for other in ("", "-", "in-case-of-fire", made + "z", made.replace(made[4], "", 1), f"{made}\n"):
        assert passphrase.how_to_type(other) == ""
    assert form == "recovery" or passphrase.how_to_type(wrong) == ""


DOCUMENTED = pathlib.Path(__file__).resolve().parents[5] / "docs" / "rotation.md"


@pytest.mark.parametrize("form", ["base32", "modhex"])
def test_the_documented_way_to_check_what_was_heard(form: str, tmp_path: pathlib.Path) -> None:
    shape = passphrase.FORMS[form]
    (program,) = re.findall(r"```python\n(# check\.py.*?)```", DOCUMENTED.read_text(encoding="utf-8"), re.DOTALL)
    script = tmp_path / "check.py"
    script.write_text(program)
    heard = [passphrase.make(form, 128) for _number in range(3)]
    body = "".join(shape.alphabet[:: -1 if form == "modhex" else 1])[:15]
    heard += [body + passphrase.check_symbol(body, shape.alphabet)]
    wrong = [text[:2] + next(one for one in shape.alphabet if one != text[2]) + text[3:] for text in heard]
    done = subprocess.run(
        [sys.executable, str(script)],
        input="".join(f"{text}\n" for text in (*heard, *wrong, heard[0].upper())),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["right"] * 4 + ["wrong"] * 4 + ["right"]


@pytest.mark.parametrize(("form", "entropy", "says"), [("words", 128, "base32, modhex"), ("base32", 63, "too few")])
def test_refusals(form: str, entropy: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        passphrase.make(form, entropy)
