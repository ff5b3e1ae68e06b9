# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every rule on a volume that breaks it and on one that does not; the volumes are cryptsetup's, changed byte by
byte.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import rules, rules_history
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.audit_task import parse_audit
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.policy import OF_THE_POLICY
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.rule import STORE
from ansible_collections.luksmith.luks.plugins.module_utils._luks.fixtures.tokens import luks2_token
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend as keyslots_run
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.audit_volumes import (
    BOTH,
    FIRE,
    LENIENT,
    WINTER,
    Image,
    Tree,
    audit,
    collected,
    extended,
    secret,
)


@dataclasses.dataclass
class Case:
    """``bad``: makes the fixture ``volume`` break the rule; ``options``: of the audit, the same for the clean
    volume.
    """

    rule: str
    bad: t.Callable[[Image], t.Any]
    volume: str = "luks2.img"
    options: t.Dict[str, t.Any] = dataclasses.field(default_factory=dict)
    keyslot: t.Optional[int] = None
    name: str = ""
    clean: t.Callable[[Image], t.Any] = lambda image: None
    unverified: bool = False


def slot(number: int, **members: t.Any) -> t.Callable[[Image], t.Any]:
    return lambda image: image.edit(lambda tree: tree["keyslots"][str(number)].update(members))


def part(number: int, name: str, **members: t.Any) -> t.Callable[[Image], t.Any]:
    return lambda image: image.edit(lambda tree: tree["keyslots"][str(number)][name].update(members))


def segment(**members: t.Any) -> t.Callable[[Image], t.Any]:
    return lambda image: image.edit(lambda tree: tree["segments"]["0"].update(members))


def digest(**members: t.Any) -> t.Callable[[Image], t.Any]:
    return lambda image: image.edit(lambda tree: tree["digests"]["0"].update(members))


def token(number: int, kind: str, *keyslots: str) -> t.Callable[[Image], t.Any]:
    return lambda image: image.edit(
        lambda tree: tree["tokens"].update({str(number): {"type": kind, "keyslots": list(keyslots)}})
    )


def token_with(number: int, kind: str, keyslot: int, **members: t.Any) -> t.Callable[[Image], t.Any]:
    """A token as its program writes it, with other members."""
    whole = {**luks2_token(kind, keyslot), **members}
    return lambda image: image.edit(lambda tree: tree["tokens"].update({str(number): whole}))


# Each of these ties the key to the machine's state or to a person.
BOUND = (
    {},
    {"tpm2-pcrs": [], "tpm2-pin": True},
    {"tpm2-pcrs": [], "tpm2_pubkey_pcrs": [11]},
    {"tpm2-pcrs": [], "tpm2_pcrlock": True},
)


def jwe(header: t.Any) -> Tree:
    return {"protected": inner_text(header), "ciphertext": "AAAA"}


def inner_text(header: t.Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")


def tang_jwe(key: str) -> Tree:
    return jwe({"kid": key, "clevis": {"pin": "tang", "tang": {"url": "http://tang.invalid"}}})


def inner(key: str) -> str:
    """A pin inside another one is a compact JWE."""
    return f"{tang_jwe(key)['protected']}...."


def foreign_token(image: Image) -> None:
    """A keyslot that no given secret opens, and a token for it."""
    amend_volume(image, {"new_secret": secret("of the machine"), "keyslot": 2, "pbkdf": CHEAP})
    token_with(1, "clevis", 2)(image)


def requirement(*flags: str) -> t.Callable[[Image], t.Any]:
    return lambda image: image.edit(lambda tree: tree["config"].update({"requirements": {"mandatory": list(flags)}}))


def in_tree(change: t.Callable[[Tree], t.Any]) -> t.Callable[[Image], t.Any]:
    return lambda image: image.edit(change)


def area(number: int, offset: int, data: bytes) -> t.Callable[[Image], t.Any]:
    return lambda image: image.patch(int(image.tree()["keyslots"][str(number)]["area"]["offset"]) + offset, data)


def unbound(tree: Tree) -> None:
    """Slot 1 gets a digest of its own that covers no segment."""
    tree["digests"]["0"]["keyslots"].remove("1")
    tree["digests"]["1"] = {**tree["digests"]["0"], "keyslots": ["1"], "segments": []}


def same_salt(tree: Tree) -> None:
    tree["keyslots"]["1"]["kdf"]["salt"] = tree["keyslots"]["0"]["kdf"]["salt"]


def unaligned(tree: Tree) -> None:
    """A third slot between 512-byte sectors, as a conversion from LUKS1 may leave it."""
    new = {**tree["keyslots"]["1"], "area": {**tree["keyslots"]["1"]["area"], "offset": str(32768 + 2 * 131072 + 512)}}
    tree["keyslots"]["2"] = new
    tree["digests"]["0"]["keyslots"].append("2")


def two_segments(tree: Tree) -> None:
    first = tree["segments"]["0"]
    first["size"] = "4096"
    tree["segments"]["1"] = {**first, "offset": str(int(first["offset"]) + 4096), "size": "dynamic", "iv_tweak": "8"}
    tree["digests"]["0"]["segments"].append("1")


def segment_gap(tree: Tree) -> None:
    tree["segments"]["9"] = {**tree["segments"]["0"], "flags": ["backup-final"]}
    tree["digests"]["0"]["segments"].append("9")


def old_reencryption(flag: str) -> t.Callable[[Tree], None]:
    """As cryptsetup leaves a reencryption: requirement, slot of type reencrypt, segments that remember before and
    after.
    """

    def change(tree: Tree) -> None:
        tree["config"]["requirements"] = {"mandatory": [flag]}
        tree["keyslots"]["2"] = {
            "type": "reencrypt",
            "key_size": 1,
            "mode": "reencrypt",
            "direction": "forward",
            "area": {
                "type": "checksum",
                "offset": str(32768 + 2 * 131072),
                "size": "4096",
                "hash": "sha256",
                "sector_size": 512,
            },
        }
        tree["segments"]["1"] = {**tree["segments"]["0"], "flags": ["backup-final"]}
        tree["segments"]["2"] = {**tree["segments"]["0"], "flags": ["backup-previous"]}
        tree["digests"]["0"]["segments"] += ["1", "2"]

    return change


def intent(tree: Tree) -> None:
    tree["tokens"]["0"] = {
        "type": "luksmith.luks-intent",
        "keyslots": [],
        "version": 1,
        "kind": "wipe",
        "keyslot": 3,
        "extents": [{"offset": str(32768 + 2 * 131072), "size": "4096"}],
    }


def recorded(image: Image) -> None:
    """A third secret in slot 2, with a record by the collection itself, more than a year old."""
    amend_volume(image, {"new_secret": secret("a third secret"), "keyslot": 2, "pbkdf": CHEAP})
    image.edit(lambda tree: [entry.update({"changed": "2025-11-01T00:00:00Z"}) for entry in record(tree).values()])


def recorded_then_changed(image: Image) -> None:
    recorded(image)
    image.edit(lambda tree: [entry.update({"fingerprint": "00" * 16}) for entry in record(tree).values()])


CHEAP = {"type": "argon2id", "time": 4, "memory": 32, "parallel": 1}


def record(tree: Tree) -> Tree:
    return t.cast(
        Tree, next(token["slots"] for token in tree["tokens"].values() if token["type"] == "luksmith.luks-record")
    )


def amend_volume(image: Image, *entries: t.Any, unlock: str = WINTER, **options: t.Any) -> t.Any:
    task = parse_task({"device": str(image.path), "keyslots": list(entries), "unlock": [secret(unlock)], **options})
    try:
        return keyslots_run.amend(task, check=False)
    finally:
        task.wipe_secrets()


def renewed(image: Image, **costs: t.Any) -> None:
    """Both secrets replaced a moment ago."""
    pbkdf = costs or CHEAP
    pairs = [(secret(old), secret(f"{old} new")) for old in (WINTER, FIRE)]
    amend_volume(image, *({"old_secret": old, "new_secret": new, "pbkdf": pbkdf} for old, new in pairs))


def empty_secret(image: Image) -> None:
    """The collection refuses to set an empty secret, so its engine is asked directly, with a known one and then
    nothing.
    """
    from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.secrets import Secret

    task = parse_task(
        {
            "device": str(image.path),
            "keyslots": [{"new_secret": secret("to be emptied"), "pbkdf": CHEAP}],
            "unlock": [secret(WINTER)],
        }
    )
    emptied = [Secret(bytearray(), one.labels) if one.is_text("to be emptied") else one for one in task.secrets]
    keyslots_run.amend(task._replace(secrets=tuple(emptied)), check=False)


def beside(make: t.Callable[[Image], t.Any]) -> t.Callable[[Image], t.Any]:
    """A backup of the header beside the volume, taken before ``make`` changes the volume."""

    def change(image: Image) -> None:
        image.path.with_name("backup").write_bytes(image.header())
        make(image)

    return change


def other_key(image: Image) -> None:
    image.edit(lambda tree: tree["digests"]["0"].update({"salt": "A" * 43 + "="}))


ONE = {"secrets": [secret(WINTER)]}
RECOVERY = {"secrets": [*BOTH, secret("in the safe", "safe")]}
ALL = {"secrets": BOTH}
CASES = (
    Case("header-unreadable", in_tree(lambda tree: tree.pop("digests"))),
    Case("header-unreadable", lambda image: image.store(b'{"keyslots":{},"keyslots":{}}'), name="duplicate key"),
    Case("header-unreadable", lambda image: image.patch(208, b"\x12"), "luks1.img"),
    Case("cve-2020-14382", in_tree(segment_gap)),
    Case(
        "format",
        lambda image: None,
        "luks1.img",
        {"policy": extended(formats=["luks2"])},
        clean=lambda image: Image(image.path, "luks2.img"),
    ),
    Case("header-copy", lambda image: image.patch(image.hdr_size + 5000, b"x"), name="bad"),
    Case("header-copy", lambda image: image.seal(0, seqid=(99).to_bytes(8, "big")), name="stale"),
    Case("header-copy", lambda image: image.seal(0, label=b"other"), name="differs"),
    Case("header-salt", lambda image: image.seal(0, salt=image.at(image.hdr_size + 104, 64))),
    Case(
        "header-checksum",
        lambda image: [image.seal(place, alg=b"sha512".ljust(32, b"\0")) for place in (0, image.hdr_size)],
    ),
    Case("header-padding", lambda image: [image.seal(place, padding=b"x") for place in (0, image.hdr_size)]),
    Case("header-padding", lambda image: image.patch(700, b"x"), "luks1.img"),
    Case("metadata-unknown", in_tree(lambda tree: tree.update({"vendor": {}})), name="top"),
    Case("metadata-unknown", slot(1, comment="hello"), name="keyslot"),
    Case("foreign-signature", lambda image: image.patch(65600, b"_BHRfS_M")),
    Case("boot-signature", lambda image: image.patch(510, b"\x55\xaa"), "luks1.img"),
    Case("write-obstacle", requirement("something-new")),
    Case("interrupted-run", in_tree(intent), keyslot=3),
    Case(
        "inventory",
        lambda image: image.seal(0, label=b"other").seal(image.hdr_size, label=b"other"),
        options={"policy": extended(expected={"label": ""})},
    ),
    Case("slot-remnant", lambda image: image.patch(208 + 48 * 3 + 8, b"\x01"), "luks1.img", keyslot=3),
    Case("null-cipher", segment(encryption="cipher_null-ecb"), name="segment"),
    Case("null-cipher", part(1, "area", encryption="cipher_null-ecb"), keyslot=1, name="keyslot"),
    Case("cipher-weak", segment(encryption="aes-ecb"), name="ecb"),
    Case("cipher-weak", segment(encryption="aes-cbc-plain64"), name="cbc"),
    Case("cipher-driver", segment(encryption="capi:xts(aes)-plain64")),
    Case(
        "cipher", segment(encryption="serpent-xts-plain64"), options={"policy": extended(ciphers=["aes-xts-plain64"])}
    ),
    Case(
        "keyslot-cipher",
        part(1, "area", encryption="aes-cbc-essiv:sha256"),
        options={"policy": extended(keyslot_ciphers=["aes-xts-plain64"])},
        keyslot=1,
    ),
    Case(
        "key-size",
        lambda image: None,
        "luks1.img",
        {"policy": extended(minimum_key_size=32)},
        clean=lambda image: Image(image.path, "luks2.img"),
    ),
    Case(
        "keyslot-key-size",
        part(1, "area", key_size=16),
        options={"policy": extended(minimum_keyslot_key_size=32)},
        keyslot=1,
    ),
    Case("key-size-mismatch", slot(1, key_size=16)),
    Case("segment-layout", in_tree(two_segments), name="two"),
    Case("segment-layout", segment(sector_size=1536), name="sector"),
    Case(
        "segment-layout",
        segment(integrity={"type": "none", "journal_encryption": "none", "journal_integrity": "none"}),
        name="integrity",
    ),
    Case("area-size", part(1, "area", size="4096"), keyslot=1),
    Case("area-alignment", in_tree(unaligned), keyslot=2),
    Case("stripes", part(1, "af", stripes=4001), keyslot=1),
    Case(
        "kdf-type",
        lambda image: None,
        "luks1.img",
        {"policy": extended(kdf_types=["argon2id"])},
        keyslot=0,
        clean=lambda image: Image(image.path, "luks2.img"),
    ),
    Case("kdf-cost", part(1, "kdf", time=3), keyslot=1, name="passes"),
    Case("kdf-cost", part(1, "kdf", memory=31), keyslot=1, name="memory"),
    Case("kdf-cost", lambda image: image.patch(208 + 4, (999).to_bytes(4, "big")), "luks1.img", keyslot=0),
    Case("kdf-hash", part(1, "af", hash="sha512"), options={"policy": extended(kdf_hashes=["sha256"])}, keyslot=1),
    Case("hash-weak", part(1, "af", hash="sha1"), keyslot=1),
    Case("hash-weak", lambda image: image.patch(72, b"sha1".ljust(32, b"\0")), "luks1.img"),
    Case("kdf-unknown", slot(1, kdf={"type": "scrypt"}), keyslot=1),
    Case("kdf-excessive", part(1, "kdf", time=100001), keyslot=1, name="passes"),
    Case("kdf-excessive", part(1, "kdf", cpus=5, memory=64), keyslot=1, name="lanes"),
    Case("kdf-salt", in_tree(same_salt), keyslot=1),
    Case("digest-weak", digest(iterations=999)),
    Case("digest-weak", lambda image: image.patch(164, (999).to_bytes(4, "big")), "luks1.img"),
    Case("digest-unknown", digest(type="new")),
    Case(
        "digest-orphan",
        in_tree(lambda tree: tree["digests"].update({"1": {**tree["digests"]["0"], "keyslots": [], "segments": []}})),
        name="no keyslot",
    ),
    Case(
        "digest-orphan",
        in_tree(lambda tree: tree["digests"].update({"1": {**tree["digests"]["0"], "keyslots": []}})),
        name="two for the data",
    ),
    Case(
        "no-keyslot", lambda image: [image.patch(208 + 48 * number, b"\0\0\xde\xad") for number in (0, 1)], "luks1.img"
    ),
    Case("slot-unbound", in_tree(unbound), keyslot=1),
    Case("slot-ignored", slot(1, priority=0), keyslot=1),
    Case("slot-zombie", area(1, 0, bytes(128000)), keyslot=1),
    Case("slot-damaged", area(1, 8192, bytes(4096)), keyslot=1, name="zeros"),
    Case("slot-damaged", area(1, 8192, b"A text that somebody wrote here. " * 125), keyslot=1, name="text"),
    Case("slot-type", in_tree(lambda tree: tree["keyslots"]["1"].update({"type": "luks2-keyring"})), keyslot=1),
    Case("number-range", token(32, "systemd-tpm2", "1"), name="token"),
    Case("token-type", token(0, "systemd-tpm2", "1"), options={"policy": extended(token_types=["clevis"])}, keyslot=1),
    Case("token-malformed", token(0, "systemd-tpm2", "1"), keyslot=1),
    Case("token-malformed", token_with(0, "clevis", 1, jwe={"protected": "e30"}), keyslot=1, name="clevis"),
    Case(
        "tpm2-unconditional",
        token_with(0, "systemd-tpm2", 1, **{"tpm2-pcrs": []}),
        keyslot=1,
        clean=lambda image: [token_with(0, "systemd-tpm2", 1, **members)(image) for members in BOUND],
    ),
    Case(
        "tpm2-sha1",
        token_with(0, "systemd-tpm2", 1, **{"tpm2-pcr-bank": "sha1"}),
        keyslot=1,
        clean=token_with(0, "systemd-tpm2", 1),
    ),
    Case("token-dangling", token_with(0, "clevis", 1), options=ALL, keyslot=1, clean=foreign_token),
    Case(
        "token-dangling",
        lambda image: [image.edit(unbound), token_with(0, "clevis", 1)(image)],
        keyslot=1,
        clean=token_with(0, "clevis", 1),
        name="unbound",
    ),
    Case(
        "token-doubled",
        lambda image: [token_with(number, "clevis", 1)(image) for number in (0, 1)],
        keyslot=1,
        clean=lambda image: [token_with(0, "clevis", 1)(image), token_with(1, "systemd-tpm2", 0)(image)],
    ),
    Case(
        "token-doubled",
        lambda image: [token_with(number, "systemd-tpm2", number)(image) for number in (0, 1)],
        name="sealed",
    ),
    Case(
        "clevis-renew",
        token_with(0, "clevis", 1, jwe=tang_jwe("retired")),
        options={"policy": extended(retired_tang_keys=["retired"])},
        keyslot=1,
        clean=token_with(0, "clevis", 1, jwe=tang_jwe("good")),
    ),
    Case(
        "clevis-renew",
        token_with(
            0, "clevis", 1, jwe=jwe({"clevis": {"pin": "sss", "sss": {"jwe": [inner("good"), inner("retired")]}}})
        ),
        options={"policy": extended(retired_tang_keys=["retired"])},
        keyslot=1,
        name="shared",
    ),
    Case("token-orphan", token(0, "clevis")),
    Case(
        "grub-closed",
        lambda image: None,
        options={"policy": extended(opened_by_grub=True)},
        keyslot=1,
        clean=lambda image: renewed(image, type="pbkdf2", hash="sha256", iterations=1000),
    ),
    Case(
        "grub-closed",
        lambda image: [renewed(image, type="pbkdf2", hash="sha256", iterations=1000), slot(1, priority=0)(image)],
        options={"policy": extended(opened_by_grub=True)},
        keyslot=1,
        clean=lambda image: renewed(image, type="pbkdf2", hash="sha256", iterations=1000),
        name="ignored",
    ),
    Case(
        "grub-closed",
        lambda image: [
            renewed(image, type="pbkdf2", hash="sha256", iterations=1000),
            part(1, "kdf", hash="blake2b-512")(image),
        ],
        options={"policy": extended(opened_by_grub=True)},
        keyslot=1,
        clean=lambda image: renewed(image, type="pbkdf2", hash="sha256", iterations=1000),
        name="hash",
    ),
    Case(
        "slots-full",
        lambda image: amend_volume(
            image, *({"new_secret": secret(f"no {number}"), "pbkdf": CHEAP} for number in (2, 3))
        ),
    ),
    Case(
        "secret-forbidden",
        lambda image: amend_volume(image, {"new_secret": secret("leaked"), "keyslot": 2, "pbkdf": CHEAP}),
        options={"forbidden_secrets": [secret("leaked")]},
        keyslot=2,
    ),
    Case(
        "secret-forbidden",
        slot(1, kdf={"type": "scrypt"}),
        options={"forbidden_secrets": [secret("leaked")]},
        keyslot=1,
        unverified=True,
        name="untried",
    ),
    Case(
        "label-missing",
        lambda image: amend_volume(image, {"old_secret": secret(FIRE), "state": "absent"}),
        keyslot=None,
        options={**ALL, "policy": extended(required_labels=[FIRE.upper()])},
    ),
    Case(
        "label-missing",
        slot(1, priority=0),
        options={**ALL, "policy": extended(required_labels=[FIRE.upper()])},
        keyslot=1,
        name="ignored",
    ),
    Case(
        "label-missing",
        slot(1, kdf={"type": "scrypt"}),
        options={**ALL, "policy": extended(required_labels=[FIRE.upper()])},
        unverified=True,
        name="untried",
    ),
    Case(
        "slot-unknown",
        lambda image: amend_volume(image, {"new_secret": secret("whose?"), "keyslot": 2, "pbkdf": CHEAP}),
        options=ALL,
        keyslot=2,
    ),
    Case("slot-unknown", slot(1, kdf={"type": "scrypt"}), options=ALL, keyslot=1, unverified=True, name="untried"),
    Case(
        "record-label",
        recorded,
        options={"verify": "record", "policy": extended(allowed_labels=["IN USE"])},
        keyslot=2,
        unverified=True,
        clean=lambda image: amend_volume(
            image, {"new_secret": secret("new one", "IN USE"), "keyslot": 2, "pbkdf": CHEAP}
        ),
    ),
    Case("secret-empty", empty_secret, options=ALL, keyslot=2),
    Case("secret-duplicate", lambda image: image.edit(lambda tree: twin(image, tree)), options=ALL, keyslot=2),
    Case("record-stale", recorded_then_changed, options=ALL, keyslot=2, clean=recorded),
    Case(
        "secret-age",
        recorded,
        options={**ALL, "policy": extended(maximum_age_days=365)},
        keyslot=2,
        clean=renewed,
    ),
    Case(
        "recovery-missing",
        lambda image: None,
        options={**RECOVERY, "policy": extended(recovery_labels=["safe", "break-glass"])},
        clean=lambda image: amend_volume(image, {"new_secret": secret("in the safe", "safe"), "pbkdf": CHEAP}),
    ),
    Case(
        "recovery-missing",
        in_tree(lambda tree: tree["tokens"].update({"0": luks2_token("systemd-recovery", 1)})),
        options={**RECOVERY, "policy": extended(recovery_labels=["safe"])},
        clean=lambda image: amend_volume(image, {"new_secret": secret("in the safe", "safe"), "pbkdf": CHEAP}),
        name="a token",
        keyslot=1,
        unverified=True,
    ),
    Case(
        "recovery-missing",
        lambda image: amend_volume(
            image, {"new_secret": secret("in the safe", "safe"), "pbkdf": CHEAP, "priority": "ignore"}
        ),
        options={**RECOVERY, "policy": extended(recovery_labels=["safe"])},
        clean=lambda image: amend_volume(image, {"new_secret": secret("in the safe", "safe"), "pbkdf": CHEAP}),
        name="ignored",
    ),
    Case(
        "secret-exposed",
        recorded,
        options={**ALL, "policy": extended(renewed_since={"CVE-2026-50152": "2025-11-02"})},
        keyslot=2,
        clean=renewed,
    ),
    Case(
        "secret-exposed",
        lambda image: None,
        options={**ALL, "policy": extended(renewed_since={"CVE-2020-11932": "2020-05-12"})},
        keyslot=0,
        clean=renewed,
        name="no record",
        unverified=True,
    ),
    Case("cve-2021-4122", in_tree(old_reencryption("online-reencrypt"))),
    Case("reencryption", in_tree(old_reencryption("online-reencrypt-v2")), keyslot=2),
    Case("requirement-unknown", requirement("something-new")),
    Case("requirement", requirement("inline-hw-tags")),
    Case("requirement", requirement("opal-v2"), name="opal-v2"),
    Case(
        "backup-forbidden",
        beside(lambda image: amend_volume(image, {"old_secret": secret(FIRE), "state": "absent"})),
        options={"backups": ["backup"], "forbidden_secrets": [secret(FIRE)]},
        clean=lambda image: (
            amend_volume(image, {"old_secret": secret(FIRE), "state": "absent"}),
            beside(lambda image: None)(image),
        ),
    ),
    Case(
        "backup-missing",
        lambda image: Image(image.path.with_name("backup"), "luks1.img"),
        options={"backups": ["backup"], "policy": extended(require_backup=True)},
        clean=beside(lambda image: None),
    ),
    Case(
        "backup-missing",
        beside(other_key),
        options={"backups": ["backup"], "policy": extended(require_backup=True)},
        clean=beside(lambda image: None),
        name="foreign",
    ),
    Case(
        "backup-damaged",
        beside(lambda image: image.patch(int(image.tree()["keyslots"]["1"]["area"]["offset"]), b"noise")),
        options={"backups": ["backup"]},
        clean=beside(lambda image: None),
    ),
    Case(
        "backup-outdated",
        beside(lambda image: amend_volume(image, {"old_secret": secret(FIRE), "state": "absent"})),
        options={"backups": ["backup"]},
        clean=beside(lambda image: None),
    ),
    Case(
        "backup-older",
        beside(lambda image: amend_volume(image, {"new_secret": secret("a third secret"), "pbkdf": CHEAP})),
        options={"backups": ["backup"]},
        clean=beside(lambda image: None),
    ),
    Case("backup-foreign", beside(other_key), options={"backups": ["backup"]}, clean=beside(lambda image: None)),
    Case(
        "backup-unreadable",
        lambda image: None,
        options={"backups": ["backup"]},
        clean=beside(lambda image: None),
        unverified=True,
    ),
)


def twin(image: Image, tree: Tree) -> None:
    """Slot 2 is a copy of slot 0, material included."""
    source, target = (32768 + number * 131072 for number in (0, 2))
    image.patch(target, image.at(source, 131072))
    tree["keyslots"]["2"] = {**tree["keyslots"]["0"], "area": {**tree["keyslots"]["0"]["area"], "offset": str(target)}}
    tree["digests"]["0"]["keyslots"].append("2")


def title(case: Case) -> str:
    return "-".join(filter(None, (case.rule, case.name, case.volume.partition(".")[0])))


def run(case: Case, image: Image) -> t.Any:
    options = {"policy": LENIENT, **case.options}
    if "backups" in options:
        options["backups"] = [str(image.path.with_name(name)) for name in options["backups"]]
    before = image.path.read_bytes()
    result = audit(image, **options)
    assert image.path.read_bytes() == before, "an audit writes nothing"
    return result


@pytest.mark.parametrize("case", CASES, ids=title)
def test_the_rule_finds_it(case: Case, tmp_path: pathlib.Path) -> None:
    image = Image(tmp_path / "volume", case.volume)
    case.bad(image)
    result = run(case, image)
    hits = [one for one in result["unverified" if case.unverified else "findings"] if one["rule"] == case.rule]
    assert hits, (result["findings"], result["unverified"])
    assert case.keyslot is None or case.keyslot in [one["keyslot"] for one in hits]
    for hit in hits:
        assert set(hit) == {"rule", "severity", "keyslot", "message", "remedy"}
        assert hit["message"] and hit["remedy"]
    if any(hit["severity"] != "info" for hit in hits):
        assert result["compliant"] is False


@pytest.mark.parametrize("case", CASES, ids=title)
def test_and_not_where_there_is_nothing_to_find(case: Case, tmp_path: pathlib.Path) -> None:
    image = Image(tmp_path / "volume", case.volume)
    case.clean(image)
    result = run(case, image)
    assert case.rule not in [one["rule"] for one in (*result["findings"], *result["unverified"])]


# In test_fips.py, in tests/interop/test_padded_keys.py, and below.
ELSEWHERE = {"backing-plain", "fips-keyslot", "header-second", "volume-key-padded", "xts-limit"}


@pytest.mark.parametrize("flag", ["online-reencrypt-v2", "online-reencrypt"])
def test_no_remedy_touches_a_keyslot_while_a_reencryption_is_under_way(tmp_path: pathlib.Path, flag: str) -> None:
    """A keyslot that looks superfluous may be the only one with the new volume key."""
    image = Image(tmp_path / "volume", "luks2.img").edit(old_reencryption(flag))
    image.edit(lambda tree: tree["keyslots"]["1"].update(priority=0))
    found = audit(image, secrets=[secret(WINTER)], policy=extended(required_labels=["another"]))
    told = {one["rule"]: one["remedy"] for one in (*found["findings"], *found["unverified"])}
    assert {"slot-ignored", "slot-unknown", "label-missing"} <= set(told)
    ends = {"cve-2021-4122", "reencryption"}
    assert {told[rule] for rule in ("slot-ignored", "slot-unknown", "label-missing")} == {rules.FINISH_FIRST}
    assert ends.intersection(told) and all(told[rule] != rules.FINISH_FIRST for rule in ends.intersection(told))


def test_one_secret_of_two_volume_keys_is_no_duplicate(tmp_path: pathlib.Path) -> None:
    """Two digests of one segment, each with a keyslot, as in a reencryption."""

    def two_keys(tree: Tree) -> None:
        tree["digests"]["0"]["keyslots"] = ["0"]
        tree["digests"]["1"] = {**tree["digests"]["0"], "keyslots": ["1"]}

    image = Image(tmp_path / "volume", "luks2.img")
    both = [{"label": "both", "passphrase": WINTER}]
    evidence = collected(image.edit(two_keys))
    evidence = dataclasses.replace(evidence, labels=("both",), opened_by={0: ("both",), 1: ("both",)})
    policy = parse_audit({"device": str(image.path), "policy": LENIENT, "secrets": both}).policy
    assert "secret-duplicate" not in [one["rule"] for one in rules.judge(evidence, policy)[0]]
    image.edit(lambda tree: tree["digests"].update({"0": {**tree["digests"]["0"], "keyslots": ["0", "1"]}}))
    image.edit(lambda tree: tree["digests"].pop("1"))
    evidence = dataclasses.replace(collected(image), labels=("both",), opened_by={0: ("both",), 1: ("both",)})
    assert "secret-duplicate" in [one["rule"] for one in rules.judge(evidence, policy)[0]]


def test_every_rule_has_a_case() -> None:
    """Those about the policy have theirs in test_no_false_compliant.py, those of a store in test_store.py."""
    of_store = {rule.id for rule in rules.RULES if rule.looks_at == STORE}
    assert {case.rule for case in CASES} == set(rules.IDS) - {*OF_THE_POLICY, *of_store, *ELSEWHERE}


@pytest.mark.parametrize(("size", "found"), [(1 << 40, False), ((1 << 40) + (32 << 20), True)])
def test_one_key_for_more_than_a_tebibyte(tmp_path: pathlib.Path, size: int, found: bool) -> None:
    """A sparse file; only its size is looked at."""
    image = Image(tmp_path / "volume", "luks2.img")
    with image.path.open("r+b") as file:
        file.truncate(size)
    names = {one["rule"]: one for one in audit(image, policy="owasp-2023")["findings"]}
    assert ("xts-limit" in names) is found
    assert not found or (names["xts-limit"]["severity"] == "medium" and "1.0 TiB" in names["xts-limit"]["message"])


def test_a_rule_that_is_switched_off_says_nothing(tmp_path: pathlib.Path) -> None:
    image = Image(tmp_path / "volume", "luks2.img")
    slot(1, priority=0)(image)
    off = audit(image, policy=extended(rules={"slot-ignored": "off"}), secrets=BOTH)
    assert off["findings"] == [] and off["compliant"] is True and off["state"] == "compliant"
    worse = audit(image, policy=extended(rules={"slot-ignored": "critical"}), secrets=BOTH)
    assert [one["severity"] for one in worse["findings"]] == ["critical"]


@pytest.mark.parametrize(("flag", "release"), [("opal", "2.8"), ("opal-v2", "2.9")])
def test_the_remedy_names_the_release_that_can_do_it(flag: str, release: str) -> None:
    assert f"cryptsetup {release} or later" in rules_history._KNOWN[flag]
