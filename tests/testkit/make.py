# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes vectors/*.txt, the same bytes on each run; README.md has the command."""

from __future__ import annotations

import pathlib

from ansible_collections.luksmith.luks.tests.testkit import attacks, beside, elsewhere, passphrases, plain
from ansible_collections.luksmith.luks.tests.testkit.kit import VECTORS

# REUSE-IgnoreStart
_LICENCE = """\
# Copyright (c) 2026 The luksmith developers
# CC0 1.0 Universal (see LICENSES/CC0-1.0.txt or https://creativecommons.org/publicdomain/zero/1.0/): copy it freely.
# SPDX-License-Identifier: CC0-1.0
"""
# REUSE-IgnoreEnd


FILES = {
    "1-luks1": (plain.luks1_vectors,),
    "2-luks1-attacks": (attacks.luks1_attacks,),
    "3-luks2": (plain.luks2_vectors,),
    "4-luks2-attacks": (attacks.luks2_attacks,),
    "5-qcow2": (elsewhere.qcow2_vectors, elsewhere.qcow2_attacks),
    "6-detached": (elsewhere.detached_vectors,),
    "7-tokens": (beside.token_vectors, beside.luksmeta_vectors),
    "8-secrets": (passphrases.secret_vectors,),
}


def main(folder: pathlib.Path = VECTORS) -> None:
    folder.mkdir(exist_ok=True)
    for name, parts in FILES.items():
        text = "\n".join([_LICENCE, *(stanza for part in parts for stanza in part())])
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
