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
    separators.
    """

    alphabet: str
    group: int
    separator: str
    least: int = 0  # bits that it has at least, whatever is asked for

    @property
    def bits_per_symbol(self) -> int:
        return len(self.alphabet).bit_length() - 1


# base32: digits and letters without i, l, o and u (Crockford's choice), which are read as others.
# modhex: the 16 letters that lie on the same keys of QWERTY, QWERTZ and AZERTY keyboards, as systemd uses them for its
# recovery keys; no separator, because no layout has one in the same place.
# recovery: as systemd-cryptenroll prints its recovery keys, 71 characters.
FORMS: t.Dict[str, Form] = {
    "base32": Form("0123456789abcdefghjkmnpqrstvwxyz", 4, "-"),
    "modhex": Form("cbdefghijklnrtuv", 4, ""),
    "recovery": Form("cbdefghijklnrtuv", 8, "-", least=256),
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
    return math.ceil(max(entropy, shape.least) / shape.bits_per_symbol / shape.group) * shape.group


def bits(form: str, entropy: int) -> int:
    """The entropy that a passphrase made for ``entropy`` bits really has, in bits."""
    return symbols(form, entropy) * FORMS[form].bits_per_symbol


def make(form: str, entropy: int) -> str:
    """A new passphrase; every symbol is drawn alone and with equal chance."""
    count = symbols(form, entropy)
    shape = FORMS[form]
    drawn = [secrets.choice(shape.alphabet) for _number in range(count)]
    groups = ["".join(drawn[start : start + shape.group]) for start in range(0, len(drawn), shape.group)]
    return shape.separator.join(groups)
