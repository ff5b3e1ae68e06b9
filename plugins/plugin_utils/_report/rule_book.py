# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""What the rules of an audit are evidence for, in the identifiers of catalogues that auditors use, and when one of them
is mistaken.

An identifier says that a finding of the rule speaks against this control, not that the rule is all of the control.
docs/rules.md shows this book; a test compares the two.
"""

from __future__ import annotations

import typing as t


class Topic(t.NamedTuple):
    """What a control asks for, and its identifier in each catalogue that has it."""

    about: str
    ids: t.Tuple[str, ...]


class Entry(t.NamedTuple):
    """``topics``: names of TOPICS; ``why``: instead, why no catalogue asks for it.

    remedy: in general; a finding has the one for its volume. mistaken: when a finding is no fault.
    """

    topics: t.Tuple[str, ...]
    remedy: str
    mistaken: str
    why: str = ""


TOPICS = {
    "at rest": Topic(
        "Data at rest is encrypted",
        (
            "NIST 800-53 SC-28(1)",
            "NIST 800-171 3.13.16",
            "PCI DSS 4.0.1 3.5.1.2",
            "HIPAA 164.312(a)(2)(iv)",
            "BSI SYS.1.1",
            "SRG-OS-000185",
            "SRG-OS-000404",
            "SRG-OS-000405",
            "SRG-OS-000780",
            "CCE-80789-1",
            "CCE-90849-1",
            "CCE-89165-5",
            "STIG OL08-00-010030",
            "STIG UBTU-22-231010",
            "STIG UBTU-24-600090",
            "STIG V-280935",
        ),
    ),
    "algorithms": Topic("Algorithms and costs are approved ones", ("NIST 800-53 SC-13", "BSI TR-02102-1")),
    "keys": Topic("Keys are managed: it is known who holds which", ("NIST 800-53 SC-12", "PCI DSS 4.0.1 3.6.1")),
    "cryptoperiod": Topic("Keys change at the end of their period", ("NIST 800-53 SC-12", "PCI DSS 4.0.1 3.7.4")),
    "passphrases": Topic("Passphrases resist guessing", ("NIST 800-53 IA-5(1)",)),
}

_FORM = "it is about the form of a header, which no catalogue names"
_CVE = "it is about an attack on programs that read the header, which no catalogue names"
_OWN = "it is about the policy of the audit itself"
_SUPPORT = "it is about whether programs can change the volume, which no catalogue names"
_UNLESS_MEANT = "When it is meant; say so in the policy."
_NEVER = "No case is known."

_DATA, _CRYPTO, _KEYS = ("at rest",), ("algorithms",), ("keys",)
_REKEY, _ERASE = "Set the secret again with explicit costs.", "Erase the keyslot by its number."
_ERASE_BESIDE = "Erase the keyslot by its number while another one opens the volume."
_ANEW, _BACKUP = "Encrypt the data anew.", "Destroy the backup and create a new one."
_BACKUP_AGAIN = "Create a new backup once a secret is proven to open the keyslot, and destroy this one."
_TRUST = "Restore a header backup that you trust."
_TOKEN = "Let its program bind the keyslot anew, or remove the token while another secret is proven to open the volume."

BOOK: t.Dict[str, Entry] = {
    "policy-gap": Entry((), "Name the cost in minimum_costs, or the reason in accepted.", _NEVER, _OWN),
    "policy-accepted": Entry((), "Review the reason with the policy.", "It is information, and breaks nothing.", _OWN),
    "header-unreadable": Entry(_DATA, _TRUST, "A newer format, or a requirement that this release does not know."),
    "cve-2020-14382": Entry((), "Do not attach it to a host with cryptsetup before 2.3.4.", _NEVER, _CVE),
    "secret-shared": Entry(
        ("keys", "passphrases"), "Rotate, so that each volume has its own.", "Break-glass; list it in shared_labels."
    ),
    "clone": Entry(_KEYS, "Encrypt the clone anew.", "Two hosts see one disk, or one file."),
    "format": Entry(_CRYPTO, "Convert the header, or allow the format and name its costs.", "QEMU knows only LUKS1."),
    "header-copy": Entry((), "Let a program rewrite the copies.", "A write was cut off a moment ago.", _FORM),
    "header-salt": Entry((), "Find out which program wrote the header.", "A program that is not known here.", _FORM),
    "header-checksum": Entry(
        (), "Find out which program wrote the header.", "A program that is not known here.", _FORM
    ),
    "header-padding": Entry((), "Find out which program wrote the header.", "A program that is not known here.", _FORM),
    "metadata-unknown": Entry((), "Find out which program wrote it.", "A newer release of cryptsetup.", _FORM),
    "header-second": Entry(
        _KEYS,
        "Audit and change the header on the device, too.",
        "A remnant of an earlier volume; the report names it until it is overwritten.",
    ),
    "foreign-signature": Entry((), "Remove the signature at exactly its offset.", "The data, in a rare case.", _FORM),
    "boot-signature": Entry((), "Set a new secret for keyslot 6.", "It is chance in one of 65,536 salts.", _FORM),
    "write-obstacle": Entry((), "Do what the finding names.", "The volume is never to change.", _SUPPORT),
    "interrupted-run": Entry(_KEYS, "Run the same task again.", "The run is still going on."),
    "inventory": Entry(_KEYS, "Find out whether the volume or the inventory is wrong.", "A rotation since."),
    "slot-remnant": Entry(_KEYS, "Add a secret to the keyslot and erase it again.", "Its area was overwritten."),
    "null-cipher": Entry((*_DATA, *_CRYPTO), "Encrypt the data with a real cipher.", "A volume for tests."),
    "backing-plain": Entry(
        (*_DATA, *_CRYPTO),
        "Write the image anew into one encrypted file.",
        "A base that is public, such as the image of a distribution; accept it in the policy.",
    ),
    "cipher-weak": Entry((*_DATA, *_CRYPTO), _ANEW, "32-bit IVs on a volume below 2 TiB."),
    "xts-limit": Entry(_CRYPTO, "Divide the data among volumes.", "An empty volume that stays so."),
    "cipher-driver": Entry(_CRYPTO, _ANEW, "An HSM that needs its driver."),
    "cipher": Entry((*_DATA, *_CRYPTO), _ANEW, _UNLESS_MEANT),
    "keyslot-cipher": Entry(_CRYPTO, "Add another secret, and remove this one.", _UNLESS_MEANT),
    "key-size": Entry((*_DATA, *_CRYPTO), _ANEW, _UNLESS_MEANT),
    "keyslot-key-size": Entry(_CRYPTO, "Add another secret, and remove this one.", _UNLESS_MEANT),
    "key-size-mismatch": Entry(_KEYS, _TRUST, _NEVER),
    "segment-layout": Entry(_DATA, _TRUST, "A reencryption, or a new program."),
    "volume-key-padded": Entry((*_DATA, *_CRYPTO), _ANEW, "A volume for tests."),
    "area-size": Entry(_KEYS, "Erase the keyslot while another one opens the volume.", _NEVER),
    "area-alignment": Entry((), "Set the secret again.", "A conversion from LUKS1 leaves it so.", _FORM),
    "stripes": Entry((), "Set the secret again.", _NEVER, _FORM),
    "kdf-type": Entry(_CRYPTO, _REKEY, "Random keys, see minimum_costs.tokens."),
    "kdf-cost": Entry(("algorithms", "passphrases"), _REKEY, "Random keys, see minimum_costs.tokens."),
    "kdf-hash": Entry(_CRYPTO, _REKEY, _UNLESS_MEANT),
    "hash-weak": Entry(_CRYPTO, _REKEY, "PBKDF2 with SHA-1 is not broken by collisions."),
    "kdf-unknown": Entry(_CRYPTO, _ERASE_BESIDE, "A program that is not known here."),
    "kdf-excessive": Entry(
        (),
        "Erase the keyslot and add the secret again, or treat the header as forged.",
        "A host with more memory.",
        _SUPPORT,
    ),
    "fips-keyslot": Entry(
        _CRYPTO, "Set the secret again with pbkdf2, on another host.", "The keyslot is for another host."
    ),
    "kdf-salt": Entry(_CRYPTO, "Replace the secrets.", _NEVER),
    "digest-weak": Entry(_CRYPTO, _ANEW, "A random volume key, which no digest makes easier to guess."),
    "digest-unknown": Entry(_CRYPTO, _TRUST, "A program that is not known here."),
    "digest-orphan": Entry((), _TRUST, "'cryptsetup luksErase' leaves such a digest.", _FORM),
    "no-keyslot": Entry(_KEYS, _TRUST, "The volume was erased on purpose."),
    "slot-unbound": Entry(_KEYS, _ERASE, "The keyslot keeps a key for another program."),
    "slot-ignored": Entry(
        _KEYS,
        "Set its priority, or erase the keyslot while another one opens the volume.",
        "A spare that is meant to be named.",
    ),
    "slot-zombie": Entry(_KEYS, _ERASE, _NEVER),
    "slot-damaged": Entry(_KEYS, "Try its secret, then erase the keyslot and add the secret again.", _NEVER),
    "slot-type": Entry(_KEYS, "Find out which program uses it.", "A newer release of cryptsetup."),
    "number-range": Entry((), _TRUST, _NEVER, _CVE),
    "grub-closed": Entry(
        (), "Set the secret again with pbkdf2, or move /boot.", "A GRUB with patches for Argon2.", _SUPPORT
    ),
    "token-type": Entry(_KEYS, _TOKEN, _UNLESS_MEANT),
    "token-malformed": Entry(_KEYS, _TOKEN, "A newer release of systemd or Clevis."),
    "tpm2-unconditional": Entry(_KEYS, _TOKEN, "A machine in a locked room that must boot unattended."),
    "tpm2-sha1": Entry(_CRYPTO, _TOKEN, "A TPM without any other bank."),
    "token-dangling": Entry(_KEYS, _TOKEN, "A token that was not asked and a person share one secret."),
    "token-doubled": Entry(_KEYS, _TOKEN, "Two ways to the same key, such as two servers."),
    "clevis-renew": Entry((*_KEYS, "cryptoperiod"), "Bind the keyslot anew.", "The list of retired keys is wrong."),
    "token-orphan": Entry(
        (),
        "Remove the token while another secret is proven to open the volume.",
        "A program keeps other data in it.",
        _FORM,
    ),
    "slots-full": Entry((), "Erase a keyslot that is not needed.", "It is information, and breaks nothing.", _SUPPORT),
    "secret-forbidden": Entry((*_KEYS, "cryptoperiod"), "Remove the secret, and old copies of the header.", _NEVER),
    "label-missing": Entry(_KEYS, "Add the secret.", "The given secret is a wrong one."),
    "slot-unknown": Entry(
        _KEYS,
        "Ask the store of rotations (audit_store), find its owner and give the secret, or else erase it.",
        "The secret was not given, or is in a store that was not asked.",
    ),
    "record-label": Entry(_KEYS, "Give the secret, or list its label.", "Labels were renamed."),
    "secret-empty": Entry(
        ("at rest", "passphrases"), "Set a real secret, or erase the keyslot.", "A volume for tests."
    ),
    "secret-duplicate": Entry(_KEYS, "Erase all but one.", _UNLESS_MEANT),
    "record-stale": Entry(
        _KEYS, "Find out which program wrote it, and replace the secret.", "A change with cryptsetup that was meant."
    ),
    "secret-age": Entry(("cryptoperiod",), "Rotate the secret.", "The record says when, not how good it is."),
    "store-missing": Entry(_KEYS, "Rotate the volume.", "Its secret is kept elsewhere on purpose."),
    "store-closed": Entry(
        _KEYS,
        "Find out whether the volume or the store came back from a copy, then rotate.",
        "A wrong store was asked.",
    ),
    "store-older": Entry((*_KEYS, "cryptoperiod"), "Run the rotation again, and destroy old copies.", _NEVER),
    "store-given-out": Entry(_KEYS, "Run the rotation again.", "The person still needs it."),
    "store-staged": Entry(_KEYS, "Run the rotation again.", "The rotation is still going on."),
    "store-kept": Entry(_KEYS, "Add the secret.", "rotate_keeps names secrets of other volumes, too."),
    "recovery-missing": Entry(_KEYS, "Add a break-glass secret.", "Volumes that are made anew instead."),
    "secret-exposed": Entry((*_KEYS, "cryptoperiod"), "Rotate the secret.", "The host was never exposed."),
    "cve-2021-4122": Entry((), "Restore a header backup.", "A reencryption that you began yourself.", _CVE),
    "reencryption": Entry(_DATA, "Finish the reencryption.", "It is still going on."),
    "requirement-unknown": Entry((), "Find out which program set it.", "A newer release of cryptsetup.", _SUPPORT),
    "requirement": Entry((), "Nothing.", "It is information, and breaks nothing.", _SUPPORT),
    "backup-forbidden": Entry((*_KEYS, "cryptoperiod"), _BACKUP, _NEVER),
    "backup-missing": Entry(_KEYS, "Create a header backup.", "It lies where the audit cannot see it."),
    "backup-damaged": Entry(_DATA, _BACKUP_AGAIN, "The volume is what is damaged, and no secret was given."),
    "backup-outdated": Entry(_KEYS, _BACKUP, "An archive that is kept as safe as the keys."),
    "backup-older": Entry(_KEYS, _BACKUP, "The keyslot was added on purpose after the last backup."),
    "backup-foreign": Entry(_KEYS, _BACKUP, "The backup is of a clone or of an older volume."),
    "backup-unreadable": Entry(_KEYS, "Check the path and the file.", "The path is wrong."),
}


def ids_of(rule: str) -> t.List[str]:
    """The identifiers that the rule is evidence for; none for a rule of another release."""
    entry = BOOK.get(rule)
    return list(dict.fromkeys(one for topic in (entry.topics if entry else ()) for one in TOPICS[topic].ids))
