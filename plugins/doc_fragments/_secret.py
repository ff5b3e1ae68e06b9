# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a secret, and the entries that have secrets, once for all modules; docs/options.md has them at length.

Ansible joins the suboptions of an option here with the rest of that option in the module.
"""

from __future__ import annotations

# Indented as deep as the deepest place needs it.
_SECRET = r"""
          label:
            description: Name of the secret in results and messages. It is not secret.
            type: str
          passphrase:
            description: The secret as text. Each secret has this, C(passphrase_base64) or C(keyfile).
            type: raw
          passphrase_base64:
            description: The secret in base64, if it is not text.
            type: raw
          keyfile:
            description: Path of a file on the managed host that contains the secret, every byte of it.
            type: path
          keyfile_offset:
            description: Where the secret begins in the keyfile, in bytes.
            type: int
          keyfile_size:
            description: Length of the secret in the keyfile, in bytes.
            type: int
"""

# An item of unlock can be the volume key or a token instead.
_UNLOCKING: str = f"""{_SECRET}          volume_key_file:
            description: Path of a file on the managed host that contains the volume key, as cryptsetup dumps it.
            type: path
          volume_key_base64:
            description: The volume key in base64.
            type: raw
          token:
            description:
              - V(auto), the type or the number of a token that yields the secret. Clevis and systemd's TPM2, FIDO2 and
                PKCS#11 are supported.
            type: str
          pin:
            description: PIN for the token. It reaches only one that asks for a PIN.
            type: raw
          device:
            description: Device that the token's plugin is to use, such as V(/dev/tpmrm1). By default it finds one.
            type: str
"""


class ModuleDocFragment:
    # The types are there because ansible-test 2.17 breaks down at an f-string in an assignment without one.
    UNLOCK: str = f"options:\n  unlock:\n    suboptions:{_UNLOCKING}"
    TRIED: str = f"options:\n  secrets:\n    suboptions:{_UNLOCKING}"
    FORBIDDEN: str = f"options:\n  forbidden_secrets:\n    suboptions:{_SECRET}"
    VERIFIED: str = f"options:\n  opens:\n    suboptions: &secret{_SECRET}  does_not_open:\n    suboptions: *secret\n"
    KEYFILE: str = f"options:\n  new_secret:\n    suboptions: &secret{_SECRET}  old_secrets:\n    suboptions: *secret\n"

    ENTRIES: str = rf"""
options:
  unlock:
    suboptions:{_UNLOCKING}
  keyslots:
    suboptions:
      state:
        description: Whether a keyslot is to open with the secret. V(absent) needs a keyslot, an old secret or both.
        type: str
        choices:
          - present
          - absent
        default: present
      keyslot:
        description: Number of the keyslot, V(0) to V(7) on LUKS1 and V(0) to V(31) on LUKS2. Default is any.
        type: int
      new_secret:
        description: Secret that is to open the volume. Required with V(present), but not to set only a priority.
        type: dict
        suboptions:{_SECRET}          token:
            description:
              - Type of a token that a new keyslot gets, on LUKS2. V(systemd-recovery) marks a recovery key of systemd.
            type: str
            choices:
              - systemd-recovery
      old_secret:
        description: Secret to replace, or to erase with V(absent).
        type: dict
        suboptions:{_SECRET}
      binding:
        description:
          - A binding to a TPM or to Clevis in place of a secret, on LUKS2. It holds if such a token is proven to open
            its keyslot. Otherwise the program of the host makes a new one, which replaces those of its kind.
        type: dict
        suboptions:
          type:
            description: Type of the token.
            type: str
            choices:
              - systemd-tpm2
              - clevis
            required: true
          label:
            description: Name of the binding in results and messages.
            type: str
          pcrs:
            description: PCRs of the TPM that bind the key, V([]) for none. Required for a TPM2 that is V(present).
            type: list
            elements: int
          pin:
            description: PIN for the TPM, or the name of the Clevis pin (V(tang), V(tpm2), V(sss)).
            type: raw
          device:
            description: The TPM, V(auto) or a path such as V(/dev/tpmrm0). By default systemd finds it.
            type: str
          config:
            description: Configuration of the Clevis pin.
            type: dict
      iter_time:
        description: Target time to unlock a new key, in milliseconds.
        type: int
      pbkdf:
        description: Costs that the keyslot must have at least.
        type: dict
        suboptions:
          type:
            description: Key derivation. LUKS1 has only V(pbkdf2).
            type: str
            choices:
              - pbkdf2
              - argon2i
              - argon2id
          hash:
            description: Hash of PBKDF2, such as V(sha256).
            type: str
          iterations:
            description: Iterations of PBKDF2, at least V(1000).
            type: int
          time:
            description: Passes of Argon2, at least V(4).
            type: int
          memory:
            description: KiB of Argon2, V(32) to V(4194304).
            type: int
          parallel:
            description: Lanes of Argon2, V(1) to V(4).
            type: int
      priority:
        description: LUKS2 only. V(ignore) is not tried at boot. With O(keyslots[].keyslot), needs no secret.
        type: str
        choices:
          - ignore
          - normal
          - prefer
"""
