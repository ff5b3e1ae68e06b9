# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each program says about a vector, in the words of README.md; a program that cannot tell a fact leaves it out."""

from __future__ import annotations

import base64
import dataclasses
import pathlib
import re
import socket
import subprocess
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import LuksmithError
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse_info import parse_info
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.inspect import inspect

from .kit import Vector

CLEVIS = "cb6e8904-81ff-40da-a84a-07ab9ab5715e"
Place = t.Union["Here", "Root"]


@dataclasses.dataclass(frozen=True)
class Here:
    """The programs of this machine."""

    prefix: t.Tuple[str, ...] = ()

    def path(self, file: pathlib.Path) -> str:
        return str(file)


@dataclasses.dataclass(frozen=True)
class Root:
    """The programs of a root file system, by chroot. Files must lie below it."""

    folder: pathlib.Path

    @property
    def prefix(self) -> t.Tuple[str, ...]:
        return ("chroot", str(self.folder))

    def path(self, file: pathlib.Path) -> str:
        return f"/{file.relative_to(self.folder)}"


HERE = Here()


@dataclasses.dataclass(frozen=True)
class Files:
    """A vector on the disk. ``payload``: only beside a detached header."""

    image: pathlib.Path
    payload: t.Optional[pathlib.Path] = None

    @classmethod
    def of(cls, vector: Vector, folder: pathlib.Path) -> Files:
        image = folder / "image"
        vector.write(image)
        if vector.detached is None:
            return cls(image)
        payload = folder / "payload"
        with payload.open("wb") as file:
            file.truncate(vector.detached)
        return cls(image, payload)


def luksmith(vector: Vector, files: Files, _place: Place) -> str:
    """What ``keyslots_info`` would say, without the process of a module."""
    secrets = [
        {"passphrase_base64": base64.b64encode(secret).decode(), "label": label}
        for label, secret in vector.secrets.items()
    ]
    where = {"device": str(files.payload or files.image), "header": str(files.image) if files.payload else None}
    try:
        task = parse_info({**where, "secrets": secrets})
        try:
            found = inspect(task)
        finally:
            task.wipe_secrets()
    except LuksmithError:
        return "refused"
    header = found["header"]
    facts = [_opened({label: [str(slot) for slot in slots] for label, slots in found["opened_by"].items()})]
    if set(header["copies"].values()) != {"ok"}:
        facts.append("degraded")
    if any(token["type"] == "luksmeta (unreadable)" for token in header["tokens"]):
        return ", ".join([*facts, "tokens unreadable"])
    return ", ".join([*facts, *(f"token {token['number']} {token['type']}" for token in header["tokens"])])


def cryptsetup(vector: Vector, files: Files, place: Place) -> str:
    """It repairs a LUKS2 header of which one copy is damaged when it reads it: that is how it says "degraded"."""
    image, program = place.path(files.image), [*place.prefix, "cryptsetup"]
    before = files.image.read_bytes()
    dump = subprocess.run([*program, "luksDump", image], capture_output=True, check=False)
    if dump.returncode:
        return "refused"
    where = ["--header", image, place.path(files.payload)] if files.payload else [image]
    opened: t.Dict[str, t.List[str]] = {}
    for label, secret in vector.secrets.items():
        command = [*program, "open", "--test-passphrase", "-v", "--key-file=-", *where]
        tried = subprocess.run(command, input=secret, capture_output=True, check=False)
        words = tried.stdout.decode().split()
        opened[label] = [words[words.index("slot") + 1]] if not tried.returncode and "slot" in words else []
    tokens = re.search(r"^Tokens:\n(.*?)^\w", dump.stdout.decode(errors="replace"), re.MULTILINE | re.DOTALL)
    told = re.findall(r"^  (\d+): (\S+)", tokens[1], re.MULTILINE) if tokens else []
    repaired = ["degraded"] if files.image.read_bytes() != before else []
    return ", ".join([_opened(opened), *repaired, *(f"token {number} {kind}" for number, kind in told)])


def qemu(vector: Vector, files: Files, place: Place) -> str:
    """By qemu-io, because qemu-img opens an image without its secret. It does not say which keyslot a secret opens."""
    image, key = place.path(files.image), files.image.with_name("secret")
    luks = f"driver=luks,key-secret=s,file.filename={image}"
    qcow2 = f"driver=qcow2,encrypt.format=luks,encrypt.key-secret=s,file.filename={image}"
    opened = []
    for label, secret in vector.secrets.items():
        key.write_text(base64.b64encode(secret).decode())
        command = [*place.prefix, "qemu-io", "-r", "-c", "quit"]
        command += ["--object", f"secret,id=s,format=base64,file={place.path(key)}"]
        command += ["--image-opts", qcow2 if vector.name.startswith("qcow2") else luks]
        tried = subprocess.run(command, capture_output=True, check=False)
        if not tried.returncode:
            opened.append(label)
        elif b"cannot unlock any keyslot" not in tried.stderr and b"not valid UTF-8" not in tried.stderr:
            return "refused"
    return f"opens with {', '.join(opened)}" if opened else "opens nothing"


def luksmeta(_vector: Vector, files: Files, place: Place) -> str:
    shown = subprocess.run(
        [*place.prefix, "luksmeta", "show", "-d", place.path(files.image)], capture_output=True, text=True, check=False
    )
    if "is not initialized" in shown.stderr:
        return "no token"
    if shown.returncode or shown.stderr:
        return "tokens unreadable"
    rows = re.findall(r"^(\d) +\w+ ([0-9a-f-]{36})$", shown.stdout, re.MULTILINE)
    facts = [f"token {slot} {'clevis' if name == CLEVIS else f'luksmeta {name}'}" for slot, name in rows]
    return ", ".join(facts) or "no token"


def _opened(opened: t.Mapping[str, t.Sequence[str]]) -> str:
    facts = [f"{slot} with {label}" for label, slots in opened.items() for slot in slots]
    return f"opens {', '.join(facts)}" if facts else "opens nothing"


def _no_tokens(expect: str) -> str:
    return re.sub(r", tokens? .*", "", expect)


def _no_number(expect: str) -> str:
    labels = re.findall(r"\d+ with (\w+)", expect)
    return f"opens with {', '.join(labels)}" if labels else re.sub(r", .*", "", expect)


def _tokens(expect: str) -> str:
    return ", ".join(re.findall(r"tokens? [^,]+", expect)) or "no token"


def _of_the_kernel(vector: Vector) -> str:
    """The cipher that cryptsetup asks the kernel for, if it is one that its libraries do not have."""
    return next((name for name in ("serpent", "twofish", "camellia") if name in vector.name), "")


def _kernel_has(cipher: str) -> bool:
    """By AF_ALG, as cryptsetup asks; a container may have none of it."""
    try:
        with socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET) as asked:
            asked.bind(("skcipher", f"ecb({cipher})"))
    except OSError:
        return False
    return True


class Peer(t.NamedTuple):
    """``names``: the vectors that the program is asked about; ``sees``: what it could say of a verdict."""

    names: str
    sees: t.Callable[[Vector], str]
    says: t.Callable[[Vector, Files, Place], str]

    def asked(self, vector: Vector) -> bool:
        """Not where it lacks what the kernel of this machine lacks."""
        if not re.match(self.names, vector.name):
            return False
        cipher = _of_the_kernel(vector) if self.says is cryptsetup else ""
        return not cipher or _kernel_has(cipher)


PEERS = {
    "luksmith": Peer("", lambda vector: vector.expect, luksmith),
    "cryptsetup": Peer(
        "luks|detached",
        lambda vector: _no_tokens(vector.expect) if vector.name.startswith("luksmeta") else vector.expect,
        cryptsetup,
    ),
    "qemu-io": Peer("luks1|luksmeta|qcow2", lambda vector: _no_number(vector.expect), qemu),
    "luksmeta": Peer("luksmeta", lambda vector: _tokens(vector.expect), luksmeta),
}


def difference(vector: Vector, program: str, files: Files, place: Place = HERE) -> t.Optional[t.Tuple[str, str]]:
    """What was to be said and what was said, if these differ."""
    peer = PEERS[program]
    known = vector.peers.get(program, (peer.sees(vector), ""))[0]
    said = peer.says(vector, files, place)
    return (known, said) if said != known else None
