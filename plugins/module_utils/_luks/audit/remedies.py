# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Remedies that work for the volume at hand. A test carries each one out and sees the finding go.

QEMU knows only LUKS1. In a qcow2 image there is no room for anything else, a raw image of QEMU has no room for the
larger header of LUKS2, and one that cryptsetup could convert would no longer start a virtual machine.
"""

from __future__ import annotations

import typing as t

from ..header.foreign_tokens import RECOVERY, SEALING
from ..header.luks2.metadata import RESTORE
from ..header.model import PRIORITY_IGNORE, Token
from .evidence import Evidence
from .tokens import ENOUGH

MAKE_IT_ANSWER = (
    "Make the token answer, whose server, TPM or security key gave nothing, or ask it by its number, and audit again. "
    "Erase nothing before: its keyslot may be the only one that opens the volume"
)
_MIB = 1 << 20  # cryptsetup aligns the data to it, QEMU does not
_REKEY = (
    "Set its secret again with luksmith.luks.keyslots and an explicit pbkdf (to change only the costs, give the same "
    "secret as old_secret and new_secret)"
)
_NEW_SLOT = (
    "Add another secret and remove this one (state: absent) in one task of luksmith.luks.keyslots: a new keyslot takes "
    "the cipher of the payload if that is a good one, while a keyslot that is written again keeps its own"
)
_NEW_IMAGE = (
    "copy the data into a new image: 'qemu-img convert --object secret,id=old,file=OLD --object secret,id=new,file=NEW "
    "--image-opts {source} -O {target} NEW_IMAGE'; its key has 64 bytes and its cipher is aes-xts-plain64"
)


def made_by_qemu(evidence: Evidence) -> bool:
    """Whether only QEMU can use the volume as it is, or its layout is that of QEMU: data that begins at no MiB."""
    if evidence.container == "qcow2":
        return True
    return evidence.header.format == "luks1" and any(segment.offset % _MIB for segment in evidence.header.segments)


def other_format(evidence: Evidence) -> str:
    if evidence.header.format != "luks1":
        return "Allow luks2 in the policy (formats); LUKS1 is the older format, and only a new volume can have it"
    if made_by_qemu(evidence):
        return (
            "QEMU knows only LUKS1, and this image has no room for a LUKS2 header: give it a policy that allows luks1 "
            "(formats) and names what its PBKDF2 must cost (minimum_costs), or move the data to another volume"
        )
    device = "the file of the header" if evidence.detached else "DEVICE"
    return (
        f"Make a header backup and convert it while the volume is closed: 'cryptsetup convert --type luks2 {device}'. "
        "If QEMU opens the volume, do not, as it knows only LUKS1: allow luks1 in its policy"
    )


def encrypt_anew(evidence: Evidence, options: str = "--cipher aes-xts-plain64 --key-size 512") -> str:
    """Replace the volume key and how the data is encrypted; ``options`` of cryptsetup."""
    if evidence.container == "qcow2":
        source = "driver=qcow2,file.filename=IMAGE,encrypt.key-secret=old"
        target = "qcow2 -o encrypt.format=luks,encrypt.key-secret=new"
        return f"Close the image, then {_NEW_IMAGE.format(source=source, target=target)}"
    if made_by_qemu(evidence):
        source, target = "driver=luks,file.filename=IMAGE,key-secret=old", "luks -o key-secret=new"
        return f"Close the image, then {_NEW_IMAGE.format(source=source, target=target)}"
    header = "--header HEADER " if evidence.detached else ""
    return (
        f"Encrypt the data anew with 'cryptsetup reencrypt {header}{options} DEVICE' (a header backup first; an image "
        "file that is closed needs --force-offline-reencrypt)"
    )


def rekey(evidence: Evidence, keyslot: int) -> str:
    """Write a keyslot again."""
    return _by_its_program(evidence, keyslot) or _REKEY + _with_priority(evidence, keyslot) + _with_header(evidence)


def costs(evidence: Evidence, keyslot: int) -> str:
    """Replace the costs of a keyslot; systemd and Clevis have no option for them."""
    for kind in _holders(evidence, keyslot):
        return (
            f"If the random key of {kind!r} guards it, say so in the policy (minimum_costs: {{tokens: {{{kind}: "
            f"{ENOUGH}}}}}); if a person's secret may be behind the token, erase keyslot {keyslot} by its number"
            f"{but_first(evidence, keyslot)}"
        )
    return rekey(evidence, keyslot)


def other_hash(evidence: Evidence, keyslot: int) -> str:
    """Replace the hash of a keyslot; LUKS1 has one for the whole header."""
    return encrypt_anew(evidence) if evidence.header.format == "luks1" else rekey(evidence, keyslot)


def other_kdf(evidence: Evidence, keyslot: int, kdf_types: t.Collection[str]) -> str:
    """Replace the key derivation of a keyslot by one of these; LUKS1 has only pbkdf2."""
    if evidence.header.format == "luks1" and "pbkdf2" not in kdf_types:
        return other_format(evidence)
    return costs(evidence, keyslot)


def new_slot(evidence: Evidence, keyslot: int) -> str:
    """Replace the area of a keyslot; in LUKS1 it is encrypted as the data is."""
    if evidence.header.format == "luks1":
        return encrypt_anew(evidence)
    return _by_its_program(evidence, keyslot) or _NEW_SLOT + _with_header(evidence)


def _with_priority(evidence: Evidence, keyslot: int) -> str:
    if evidence.header.keyslots[keyslot].priority != PRIORITY_IGNORE:
        return ""
    return "; it has priority ignore, so give priority: ignore too, or it is tried by default afterwards"


def _with_header(evidence: Evidence) -> str:
    return "; its header is detached, so give header too" if evidence.detached else ""


def _by_its_program(evidence: Evidence, keyslot: int) -> str:
    """A new secret would cut a token off from its keyslot, so that its own program must replace both."""
    for kind in _holders(evidence, keyslot):
        return enrol_anew(kind, keyslot)
    return ""


def _holders(evidence: Evidence, keyslot: int) -> t.List[str]:
    """The types of tokens for the keyslot, unless a person's secret opens it, which then is not theirs."""
    if evidence.opened_by.get(keyslot) and keyslot not in (*evidence.machine_made, *evidence.asked.alone):
        return []
    return [token.type for token in evidence.header.tokens if keyslot in token.keyslots and not token.ours]


def remove_token(evidence: Evidence, token: int, keyslot: int) -> str:
    """Whatever else it seems to be, it may keep the only key that opens the volume."""
    if evidence.header.format == "luks1":
        return f"'luksmeta wipe -d DEVICE -s {keyslot}'{_unless_it_is_needed(evidence, token)}"
    return f"'cryptsetup token remove --token-id {token} DEVICE'{_unless_it_is_needed(evidence, token)}"


def _unless_it_is_needed(evidence: Evidence, token: int) -> str:
    first = []
    (found,) = [one for one in evidence.header.tokens if one.number == token]
    if found.type in SEALING and token not in evidence.asked.opens:
        first.append(f"it {_asked(evidence, found)}")
    others = [
        (slot.number, labels[0])
        for slot in evidence.bound
        for labels in [[one for one in evidence.opened_by.get(slot.number, ()) if one in evidence.labels]]
        if labels
        and slot.number not in evidence.recorded
        and not (slot.number in evidence.asked.alone and evidence.opens(token, slot.number))
    ]
    if not others:
        first.append("another secret is proven to open the volume")
    stays = f"; {others[0][1]!r} is proven to open keyslot {others[0][0]}" if others else ""
    return (f", but not before {' and '.join(first)}" if first else "") + stays


def _asked(evidence: Evidence, token: Token) -> str:
    if token.number in evidence.asked.silent:
        return "gave its secret"
    return "was asked for its secret" + (f" (secrets: [{{token: {token.number}}}])" if token.type in SEALING else "")


def enrol_anew(kind: str, keyslot: int) -> str:
    if kind == "clevis":
        return (
            f"Bind it anew: 'clevis luks regen -d DEVICE -s {keyslot}', or, while another secret is proven to open the "
            "volume, 'clevis luks unbind' and 'clevis luks bind'"
        )
    if kind == RECOVERY:
        return f"Draw another one: 'systemd-cryptenroll --wipe-slot={keyslot} --recovery-key DEVICE'"
    if kind.startswith("systemd-"):
        return (
            f"Enrol it anew: 'systemd-cryptenroll --wipe-slot={keyslot} --{kind.partition('-')[2]}-device=auto DEVICE' "
            "(with --tpm2-pcrs or --tpm2-with-pin=yes for a TPM)"
        )
    return f"Let the program that made the token of type {kind!r} replace keyslot {keyslot}"


def restore(evidence: Evidence) -> str:
    """Replace a header that nobody can mend; luksmith.luks.header_backup does so only with one that it trusts."""
    if evidence.container == "qcow2":
        return f"No program restores the whole header of a qcow2 image. {encrypt_anew(evidence)}"
    return RESTORE.replace("DEVICE", "HEADER") if evidence.detached else RESTORE


def kill_slot(evidence: Evidence, keyslot: int) -> str:
    """Remove a keyslot beside which this collection writes nothing."""
    return f"'cryptsetup luksKillSlot {'HEADER' if evidence.detached else 'DEVICE'} {keyslot}'"


def elsewhere(evidence: Evidence, keyslot: int) -> str:
    """What to do with a keyslot that cannot be tried here."""
    return (
        f"Audit on a host where it can be tried, or erase keyslot {keyslot} by its number if it is not needed"
        f"{but_first(evidence, keyslot)}"
    )


def but_first(evidence: Evidence, keyslot: int) -> str:
    """The end of a sentence that says to erase the keyslot: what must come before, or "".

    Nobody knows the secret of a keyslot that no given one opens. It may be the only one that opens the volume, and what
    the header claims of it may be true.
    """
    conditions = []
    tried = keyslot in evidence.opened_by and keyslot not in evidence.recorded
    proven = tried or keyslot in evidence.empty
    if not proven and evidence.is_current(keyslot):
        how = "" if evidence.stored else " (audit_store gives those of the role rotate)"
        label = evidence.header.record[keyslot].label
        conditions.append(f"the secret {label!r} was tried, which the record in the header names for it{how}")
    if not proven:
        for token in evidence.header.tokens:
            if keyslot in token.keyslots and not token.ours and not evidence.refuted(token.number, keyslot):
                conditions.append(f"token {token.number} of type {token.type!r} {_asked(evidence, token)}")
    if not any(
        set(evidence.labels).intersection(evidence.opened_by.get(slot.number, ()))
        for slot in evidence.bound
        if slot.number != keyslot and slot.number not in evidence.recorded
    ):
        conditions.append("another keyslot is proven to open the volume")
    return f", but not before {' and '.join(conditions)}" if conditions else ""


def remove_beneath(row: t.Mapping[str, t.Any]) -> str:
    if row["role"] == "device":
        return (
            f"Remove it from {row['path']}, too (state: absent, old_secret, without 'header'), if it is a header of "
            "this volume and no remnant in the middle of its data"
        )
    return (
        f"Remove it from {row['path']}, too (state: absent, old_secret), or write the whole image anew into one file "
        "with 'qemu-img convert'"
    )
