# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The volumes of the benchmark: made once with cryptsetup and our own module, kept in .cache, written back before each
task.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import re
import runpy
import subprocess
import time
import typing as t

from paths import CACHE, ROOT, cryptsetup

# Costs by which a derivation of a keyslot is told from all others when they are counted.
COUNTED = {"luks1": {"iterations": 1717}, "luks2": {"time": 5, "memory": 72, "parallel": 1}}
SLOTS = {"luks1": 8, "luks2": 32}
SIZES = {"luks1": 4 << 20, "luks2": 18 << 20}


def secret(number: int) -> str:
    return f"the secret of keyslot {number}"


NEW = "the new secret"


@dataclasses.dataclass(frozen=True)
class Volume:
    """``format`` with ``slots`` keyslots of ``costs``; ``image``: the file that is written to a loop device before each
    task.

    ``recorded``: the same, but our module has made the keyslots, so that there is a record of them (LUKS2 of six).
    """

    format: str
    slots: int
    costs: t.Mapping[str, int]
    image: pathlib.Path
    recorded: t.Optional[pathlib.Path] = None

    @property
    def pbkdf(self) -> t.Dict[str, t.Any]:
        return {"type": "pbkdf2" if self.format == "luks1" else "argon2id", **self.costs}

    @property
    def digest(self) -> int:
        """Iterations of the digest of the volume key, as cryptsetup chose them."""
        found = re.search(
            r"MK iterations:\s+(\d+)|Digests:.*?Iterations:\s+(\d+)", cryptsetup("luksDump", self.image), re.DOTALL
        )
        if found is None:
            raise SystemExit(f"{self.image}: cryptsetup shows no digest")
        return int(found.group(1) or found.group(2))

    @property
    def cryptsetup_costs(self) -> t.List[str]:
        if self.format == "luks1":
            return ["--pbkdf-force-iterations", str(self.costs["iterations"])]
        given = {"--pbkdf-force-iterations": "time", "--pbkdf-memory": "memory", "--pbkdf-parallel": "parallel"}
        return [
            "--pbkdf",
            "argon2id",
            *(word for option, cost in given.items() for word in (option, str(self.costs[cost]))),
        ]


def keyfile(folder: pathlib.Path, text: str) -> pathlib.Path:
    path = folder / re.sub(r"\W", "-", text)
    path.write_text(text)
    return path


def default_costs(format: str, milliseconds: int) -> t.Dict[str, int]:
    """What cryptsetup itself chooses here: for LUKS1 with ``milliseconds``, for LUKS2 its default.

    Chosen once, then kept.
    """
    kept = CACHE / f"costs-{format}-{milliseconds}.json"
    if not kept.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        image = CACHE / "costs.img"
        image.write_bytes(bytes(SIZES[format]))
        options = ["--iter-time", str(milliseconds)] if format == "luks1" else []
        cryptsetup("luksFormat", "-q", "--type", format, *options, image, keyfile(CACHE, secret(0)))
        dump = cryptsetup("luksDump", image)
        names = (
            {"iterations": "Iterations"}
            if format == "luks1"
            else {"time": "Time cost", "memory": "Memory", "parallel": "Threads"}
        )
        found = {cost: re.search(rf"{name}:\s+(\d+)", dump) for cost, name in names.items()}
        kept.write_text(json.dumps({cost: int(match.group(1)) for cost, match in found.items() if match}))
        image.unlink()
    return t.cast(t.Dict[str, int], json.loads(kept.read_text()))


def make(format: str, slots: int, costs: t.Mapping[str, int]) -> Volume:
    name = "-".join([format, str(slots), *(str(cost) for cost in costs.values())])
    volume = Volume(
        format,
        slots,
        costs,
        CACHE / f"{name}.img",
        CACHE / f"{name}-recorded.img" if (format, slots) == ("luks2", 6) else None,
    )
    if not volume.image.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        draft = volume.image.with_suffix(".draft")
        draft.write_bytes(bytes(SIZES[format]))
        first = keyfile(CACHE, secret(0))
        cryptsetup("luksFormat", "-q", "--type", format, *volume.cryptsetup_costs, draft, first)
        for number in range(1, slots):
            where = ["--key-slot", str(number), *volume.cryptsetup_costs, "--key-file", first]
            cryptsetup("luksAddKey", "-q", *where, draft, keyfile(CACHE, secret(number)))
        draft.rename(volume.image)
    if volume.recorded and not volume.recorded.exists():
        _record(volume, volume.recorded)
    return volume


def labelled(position: int) -> t.Dict[str, str]:
    return {"label": f"keyslot {position}", "passphrase": secret(position)}


def _record(volume: Volume, image: pathlib.Path) -> None:
    draft = image.with_suffix(".draft")
    draft.write_bytes(bytes(SIZES[volume.format]))
    cryptsetup(
        "luksFormat",
        "-q",
        "--type",
        volume.format,
        "--pbkdf",
        "pbkdf2",
        "--pbkdf-force-iterations",
        "1000",
        draft,
        keyfile(CACHE, NEW),
    )
    first = {"keyslot": 0, "old_secret": {"passphrase": NEW}, "new_secret": labelled(0), "pbkdf": volume.pbkdf}
    others = [
        {"keyslot": position, "new_secret": labelled(position), "pbkdf": volume.pbkdf}
        for position in range(1, volume.slots)
    ]
    runpy.run_path(str(ROOT / "tests" / "tools" / "register.py"))
    from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
    from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.amend import amend

    amend(parse_task({"device": str(draft), "keyslots": [first, *others]}), check=False)
    draft.rename(image)


@contextlib.contextmanager
def loop_device(size: int, folder: pathlib.Path) -> t.Iterator[str]:
    """A loop device over a new file; detached in the end."""
    backing = folder / f"loop-{time.monotonic_ns()}"
    backing.write_bytes(bytes(size))
    device = subprocess.run(
        ["losetup", "--find", "--show", backing], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
