# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way on a hurt volume: keyslots_info, check mode, the real run, and cryptsetup on what it left."""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import os
import pathlib
import random
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import argon2, hashes
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task import parse, parse_info
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend, inspect
from ansible_collections.luksmith.luks.tests.fuzz import headers, hurt, judge, luks1_cases, luks2_cases
from ansible_collections.luksmith.luks.tests.fuzz.medium import LARGEST_READ, Finding, Medium

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "fixtures"
LEAKED, SPARE = "winter-2025", "in-case-of-fire"
LIMITS = {"iterations": 20_000, "time": 16, "memory": 1024, "parallel": 4, "work": 8192}
# At most 32 keyslots are tried with at most four secrets, each try with a digest, and a few are made.
MOST_ITERATIONS = 300 * LIMITS["iterations"]
COSTS = {"type": "pbkdf2", "iterations": 1000}
Params = t.Dict[str, t.Any]


class Watch:
    """What the code under test asks the system and the libraries for, while it may only look or while it may write."""

    def __init__(self) -> None:
        self.may_write = False
        self.bytes_read = 0
        self.iterations = 0

    @contextlib.contextmanager
    def watching(self) -> t.Iterator[Watch]:
        real = {
            name: getattr(os, name)
            for name in ("pread", "preadv", "pwrite", "ftruncate", "truncate", "unlink", "rename")
        }
        pbkdf2, derive_argon2 = hashes.pbkdf2_function, argon2.argon2

        def counted(name: str) -> t.Callable[..., t.Any]:
            def call(*arguments: t.Any) -> t.Any:
                if name in ("pread", "preadv"):
                    wanted = arguments[1] if name == "pread" else sum(map(len, arguments[1]))
                    self.bytes_read += wanted
                    if wanted > LARGEST_READ or self.bytes_read > 32 * LARGEST_READ:
                        raise Finding(f"{wanted} bytes are read at once, {self.bytes_read} in all")
                elif not self.may_write:
                    raise Finding(f"os.{name} was called where only looking is allowed")
                return real[name](*arguments)

            return call

        def bounded(name: str) -> t.Callable[..., bytes]:
            function = pbkdf2(name)

            def derive(secret: t.Any, salt: bytes, iterations: int, length: int) -> bytes:
                self._spend(iterations, LIMITS["iterations"])
                return function(secret, salt, iterations, length)

            return derive

        def bounded_argon2(kind: str, secret: t.Any, salt: bytes, costs: t.Any) -> t.Any:
            if (
                costs.time * costs.memory > LIMITS["work"]
                or costs.memory > LIMITS["memory"]
                or costs.parallel > LIMITS["parallel"]
            ):
                raise Finding(f"the budget does not hold: {costs}")
            return derive_argon2(kind, secret, salt, costs)

        try:
            for name in real:
                setattr(os, name, counted(name))
            hashes.pbkdf2_function, argon2.argon2 = bounded, bounded_argon2  # type: ignore[assignment]
            yield self
        finally:
            for name, function in real.items():
                setattr(os, name, function)
            hashes.pbkdf2_function, argon2.argon2 = pbkdf2, derive_argon2

    def _spend(self, iterations: int, limit: int) -> None:
        self.iterations += iterations
        if iterations > limit or self.iterations > MOST_ITERATIONS:
            raise Finding(f"the budget does not hold: {iterations} iterations at once, {self.iterations} in all")


@functools.lru_cache(maxsize=None)
def fixture(name: str) -> bytes:
    return gzip.decompress((FIXTURES / f"{name}.gz").read_bytes())


def make(rng: random.Random) -> Medium:
    kind = rng.randrange(5)
    if kind <= 1:
        raw = fixture("luks1.img")
        return Medium(_hurt_luks1(raw[:1024], rng) + _hurt_material(raw[1024:], rng), len(raw))
    if kind == 2:
        raw = fixture("luks1.qcow2")
        inner = int.from_bytes(raw[raw.index(b"\x05\x37\xbe\x77") + 8 :][:8], "big")
        raw = raw[:inner] + _hurt_luks1(raw[inner : inner + 1024], rng) + raw[inner + 1024 :]
        if rng.random() < 0.3:
            raw = hurt.hurt_bytes(raw[:512], rng, within=160) + raw[512:]
        return Medium(raw, len(raw))
    raw = fixture("luks2.img")
    tree = json.loads(raw[4096:16384].rstrip(b"\0"))
    for _time in range(rng.choice((0, 1, 1, 1, 2, 2))):
        _hurt_luks2(tree, rng)
    text = luks2_cases.image.dumps(tree)
    copies = [luks2_cases.Copy(text, rng.choice((3, 3, 3, 3, 4))) for _time in range(2)]
    head = b"".join(luks2_cases.pack(one, 16384, rng, secondary=position == 1) for position, one in enumerate(copies))
    return Medium(head + _hurt_material(raw[32768:], rng), len(raw))


def _hurt_luks1(raw: bytes, rng: random.Random) -> bytes:
    for _time in range(rng.choice((0, 1, 1, 2))):
        raw = luks1_cases.hurt_header(raw, rng)
    return raw


def _hurt_luks2(tree: t.Dict[str, t.Any], rng: random.Random) -> None:
    how = rng.randrange(6)
    slot = (
        rng.choice([slot for slot in tree["keyslots"].values() if isinstance(slot, dict)] or [{}])
        if isinstance(tree.get("keyslots"), dict)
        else {}
    )
    if how == 0:
        luks2_cases.hurt_areas(tree, rng)
    elif how == 1:
        slot["kdf"] = {
            "type": "pbkdf2",
            "hash": "sha256",
            "iterations": hurt.number(rng),
            "salt": "Y2hlYXAgc2FsdCBvZiB0aGlydHktdHdvIGJ5dGVzISE=",
        }
    elif how == 2:
        slot["key_size"] = rng.choice((16, 24, 31, 33, hurt.number(rng)))
    elif how == 3 and isinstance(slot.get("kdf"), dict):
        slot["kdf"][rng.choice(("time", "memory", "cpus"))] = hurt.number(rng)
    elif how == 4:
        tree["tokens"] = {"0": rng.choice(_TOKENS)} if rng.random() < 0.8 else {"0": _TOKENS[0], "1": _TOKENS[1]}
    else:
        hurt.hurt_tree(tree, rng)


_INTENT = {"type": "luksmith.luks-intent", "keyslots": [], "version": 1}
_TOKENS: t.Tuple[Params, ...] = (
    {**_INTENT, "kind": "wipe", "keyslot": 2, "extents": [{"offset": "294912", "size": "131072"}]},
    {
        "type": "luksmith.luks-record",
        "keyslots": [],
        "version": 1,
        "slots": {"0": {"label": "leaked", "fingerprint": "00", "changed": "x"}},
    },
    {**_INTENT, "kind": "erase", "keyslot": 0, "extents": []},
    {**_INTENT, "kind": "replace-fill", "keyslot": 1, "extents": [{"offset": "163840", "size": "131072"}]},
    {**_INTENT, "kind": "replace-erase", "keyslot": 0, "extents": []},
    {"type": "systemd-tpm2", "keyslots": ["1"]},
)


def _hurt_material(raw: bytes, rng: random.Random) -> bytes:
    return hurt.hurt_bytes(raw, rng, within=200_000) if rng.random() < 0.15 else raw


def task_of(rng: random.Random, device: str) -> Params:
    def secret(label: str, passphrase: str) -> Params:
        return {"label": label, "passphrase": passphrase}

    leaked, spare = secret("leaked", LEAKED), secret("spare", SPARE)
    entries: t.Sequence[Params] = (
        {"new_secret": secret("next", "spring-2026"), "pbkdf": COSTS},
        {"new_secret": secret("next", "spring-2026"), "old_secret": leaked, "pbkdf": COSTS},
        {"new_secret": secret("next", "spring-2026"), "keyslot": rng.randrange(9), "pbkdf": COSTS},
        {"state": "absent", "old_secret": leaked},
        {"state": "absent", "keyslot": rng.choice((0, 1, 2, 7))},
        {"new_secret": spare},
        {"new_secret": spare, "priority": rng.choice(("ignore", "prefer"))},
    )
    return {
        "device": device,
        "lock_timeout": 1.0,
        "kdf_limits": LIMITS,
        "unlock": [spare] if rng.random() < 0.8 else [],
        "keyslots": rng.sample(list(entries), rng.choice((1, 1, 2))),
        "purge": rng.random() < 0.2,
        "force": rng.random() < 0.2,
        "allow_lockout": rng.random() < 0.2,
        "record": rng.random() < 0.7,
        "wipe": "single",
    }


def through(medium: Medium, rng: random.Random, *, ask_cryptsetup: bool) -> str:
    watch = Watch()
    with judge.file_of(medium) as path, watch.watching():
        info = _result(lambda: _inspect(str(path)))
        _unchanged(path, medium)
        params = task_of(rng, str(path))
        predicted = _result(lambda: _bring(params, check=True))
        _unchanged(path, medium)
        if isinstance(predicted, str):
            real = _result(lambda: _bring(params, check=False))
            _unchanged(path, medium)
            watch.may_write = True
            if real != predicted:
                raise Finding(
                    f"check mode says {predicted!r}, the real run {real if isinstance(real, str) else 'does it'!r}"
                )
            return f"look {predicted.partition(':')[0]}"
        watch.may_write = True
        # cryptsetup has no budget: it would try a keyslot for hours that we leave alone.
        affordable = isinstance(info, dict) and all(
            row["tried"] for row in info["keyslots"] if row["state"] == "active"
        )
        opened_before = ask_cryptsetup and affordable and judge.opens(medium, SPARE.encode())
        real = _result(lambda: _bring(params, check=False))
        if isinstance(real, str):
            raise Finding(f"check mode predicted a change, the real run says {real!r}")
        _as_predicted(predicted, real)
        again = _result(lambda: _bring(params, check=False))
        if isinstance(again, str) or again["changed"]:
            raise Finding(f"the second run is not quiet: {again if isinstance(again, str) else again['plan']}")
        if ask_cryptsetup and real["changed"] and real["container"] == "raw":
            _judged(path, medium, params, opened_before)
    assert info
    return "look done" if real["changed"] else "look unchanged"


def _inspect(device: str) -> Params:
    spare, leaked = ({"label": label, "passphrase": value} for label, value in (("spare", SPARE), ("leaked", LEAKED)))
    return inspect.inspect(
        parse_info.parse_info({"device": device, "secrets": [spare, leaked], "lock_timeout": 1.0, "kdf_limits": LIMITS})
    )


def _bring(params: Params, *, check: bool) -> Params:
    return amend.amend(parse.parse_task(params), check=check)


def _result(work: t.Callable[[], Params]) -> t.Union[str, Params]:
    """The result, or the kind and text of a refusal."""
    try:
        result = work()
    except errors.Interrupted as error:
        raise Finding(f"interrupted: {error}") from None
    except errors.LuksmithError as error:
        headers.check_error(error)
        return f"{type(error).__name__}: {error}"
    json.dumps(result).encode()
    for warning in result["warnings"]:
        headers.check_sentence(warning)
    return result


def _unchanged(path: pathlib.Path, medium: Medium) -> None:
    if path.read_bytes() != medium.raw:
        raise Finding("the file was changed by looking at it")


def _as_predicted(predicted: Params, real: Params) -> None:
    for key in ("changed", "plan"):
        if predicted[key] != real[key]:
            raise Finding(f"check mode says {key} {predicted[key]}, the real run {real[key]}")
    shapes = [
        [(row["keyslot"], row["state"], row["opened_by"], row["priority"]) for row in one["keyslots"]]
        for one in (predicted, real)
    ]
    if shapes[0] != shapes[1]:
        raise Finding(f"check mode predicts {shapes[0]}, the real run leaves {shapes[1]}")


def _judged(path: pathlib.Path, before: Medium, params: Params, opened_before: bool) -> None:
    """cryptsetup loads what we wrote if it loaded what was there; whoever opened it and was not to go still does."""
    if not judge.loads(before)[0]:
        return
    done = judge.run("luksDump", str(path))
    if done.returncode:
        raise Finding(f"cryptsetup does not load what we wrote: {done.stderr.decode(errors='replace').strip()}")
    going = any(
        (entry.get("state") == "absent" and "keyslot" in entry) or entry.get("priority") == "ignore"
        for entry in params["keyslots"]
    )
    overwritten = params["force"] or params["purge"] or any("keyslot" in entry for entry in params["keyslots"])
    if (
        opened_before
        and not going
        and not overwritten
        and not judge.opens(Medium(path.read_bytes(), before.size), SPARE.encode())
    ):
        raise Finding("the spare secret opened the volume before, was not to be removed, and opens it no more")
