# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""New passphrases from the system's random number generator, for people who have to type them at a boot prompt."""

from __future__ import annotations

import math
import secrets
import typing as t

LEAST_ENTROPY = 64  # bits; below that an attacker with a copy of the header and a cheap derivation gets somewhere


class Form(t.NamedTuple):
    """alphabet: as many symbols as a power of two, so that each is worth whole bits. group: symbols between two
    separators. checked: whether the last symbol is the check symbol of the others.
    """

    alphabet: str
    group: int
    separator: str
    checked: bool
    least: int = 0  # bits that it has at least, whatever is asked for

    @property
    def bits_per_symbol(self) -> int:
        return len(self.alphabet).bit_length() - 1


# base32: digits and letters without i, l, o and u (Crockford's choice), which are read as others.
# modhex: the 16 letters that lie on the same keys of QWERTY, QWERTZ and AZERTY keyboards, as systemd uses them for its
# recovery keys; the only separator that every layout has in the same place is the space.
# recovery: as systemd-cryptenroll prints its recovery keys, 71 characters.
FORMS: t.Dict[str, Form] = {
    "base32": Form("0123456789abcdefghjkmnpqrstvwxyz", 4, "-", checked=True),
    "modhex": Form("cbdefghijklnrtuv", 4, " ", checked=True),
    "recovery": Form("cbdefghijklnrtuv", 8, "-", checked=False, least=256),
}


def symbols(form: str, entropy: int) -> int:
    """How many symbols are needed for at least ``entropy`` bits, in whole groups. Raises ValueError."""
    if form not in FORMS:
        raise ValueError(f"a passphrase is made as one of {', '.join(FORMS)}, not {form!r}")
    if entropy < LEAST_ENTROPY:
        raise ValueError(
            f"{entropy} bits of entropy are too few for a passphrase that protects a disk; at least {LEAST_ENTROPY} "
            "are needed"
        )
    shape = FORMS[form]
    needed = math.ceil(max(entropy, shape.least) / shape.bits_per_symbol) + shape.checked
    return math.ceil(needed / shape.group) * shape.group


def bits(form: str, entropy: int) -> int:
    """The entropy that a passphrase made for ``entropy`` bits really has, in bits."""
    return (symbols(form, entropy) - FORMS[form].checked) * FORMS[form].bits_per_symbol


def make(form: str, entropy: int) -> str:
    """A new passphrase; every symbol but the check symbol is drawn alone and with equal chance."""
    count = symbols(form, entropy)
    shape = FORMS[form]
    drawn = [secrets.choice(shape.alphabet) for _number in range(count - shape.checked)]
    if shape.checked:
        drawn.append(check_symbol("".join(drawn), shape.alphabet))
    groups = ["".join(drawn[start : start + shape.group]) for start in range(0, len(drawn), shape.group)]
    return shape.separator.join(groups)


def check_symbol(text: str, alphabet: str) -> str:
    """By Luhn's algorithm mod N: from the right, the value of every other symbol is doubled and its digits in base N
    are added up. It differs for every single wrong symbol, and for every exchange of two neighbours unless they are the
    first and the last symbol of the alphabet.
    """
    total = 0
    for place, symbol in enumerate(reversed(text)):
        value = alphabet.index(symbol) * (1 if place % 2 else 2)
        total += value // len(alphabet) + value % len(alphabet)
    return alphabet[-total % len(alphabet)]


def how_to_type(text: str) -> str:
    """For whoever dictates it: what a passphrase of one of these forms is made of; "" for any other."""
    for form, shape in FORMS.items():
        typed = "".join(text.split(shape.separator))
        whole = len(typed) >= shape.group and not set(typed) - set(shape.alphabet)
        grouped = [typed[start : start + shape.group] for start in range(0, len(typed), shape.group)]
        if not whole or text != shape.separator.join(grouped):
            continue
        separators = f"type it with its {'spaces' if shape.separator == ' ' else 'hyphens'}"
        if not shape.checked:
            return f"a {form} key; {separators}"
        if check_symbol(typed[:-1], shape.alphabet) == typed[-1]:
            return f"{separators}; the last symbol is a check symbol (docs/rotation.md)"
    return ""
