# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks programs about the vectors and prints each answer that is not the one on record; README.md has the command."""

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile

from ansible_collections.luksmith.luks.tests.testkit import kit, peers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="parts of the names of vectors (default: all)")
    parser.add_argument("--program", action="append", choices=peers.PEERS, help="default: all")
    parser.add_argument("--root", type=pathlib.Path, help="ask the programs of this root file system, by chroot")
    arguments = parser.parse_args()
    place = peers.Root(arguments.root.resolve()) if arguments.root else peers.HERE
    asked = differ = 0
    with tempfile.TemporaryDirectory(dir=arguments.root and arguments.root / "tmp") as folder:
        for vector in kit.load().values():
            if arguments.words and not any(word in vector.name for word in arguments.words):
                continue
            for program in arguments.program or peers.PEERS:
                if peers.PEERS[program].asked(vector):
                    asked += 1
                    found = peers.difference(vector, program, peers.Files.of(vector, pathlib.Path(folder)), place)
                    if found:
                        differ += 1
                        print(f"{vector.name}\t{program}\t{found[0]}\t{found[1]}", flush=True)
    print(f"{asked} questions, {differ} answers differ from those on record", file=sys.stderr)
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
