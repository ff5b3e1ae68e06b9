#!/usr/bin/python
# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit
short_description: Check LUKS volumes against a policy
version_added: 1.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - Compares LUKS1 and LUKS2 volumes with a policy and reports what violates it, how severe that is, and what to do
    about it. Never writes.
  - "A task that fails unless the volume is up to a policy is C(luksmith.luks.audit: {device: /dev/sdb, policy: strict,
    fail_on: high})."
  - A requirement of the policy that could not be checked neither passes nor fails. It is listed in RV(unverified), and
    the volume is then not compliant.
  - Most rules need only the header. With O(secrets) and O(forbidden_secrets), keys are derived to prove which secret
    opens which keyslot.
  - A header that breaks the format is a finding. A path that cannot be read or has no LUKS header is a failure.
  - The file docs/audit.md of the collection lists all rules.
extends_documentation_fragment:
  - luksmith.luks._attributes
  - luksmith.luks._attributes.actiongroup
  - luksmith.luks._attributes.info
  - luksmith.luks._secret.tried
  - luksmith.luks._secret.forbidden
  - luksmith.luks._volume
options:
  device:
    description:
      - Path of the volume on the managed host, a block device or an image file; or C(UUID=...) as in crypttab.
      - Exactly one of O(device) and O(devices) is required.
    type: path
  devices:
    description:
      - Paths of several volumes to which the same policy applies. Each volume is audited on its own, and one that fails
        does not affect the others.
      - Paths that lead to the same header count as one volume.
    type: list
    elements: path
  policy:
    description:
      - Name of a ready policy, or a dictionary. A dictionary with C(extends) takes a ready policy and changes some of
        its keys.
      - The ready policies are V(strict) (the present defaults of cryptsetup), V(owasp-2023) (costs of the OWASP
        Password Storage Cheat Sheet, with NIST SP 800-38E and SP 800-132), V(fips-140-3) (what a validated module may
        have) and V(legacy) (old volumes that are kept for now).
      - A key that is left out requires nothing. An unknown key is an error.
      - What a dictionary allows beyond the ready policy that it extends must have a price, or it is itself a finding.
        For a key derivation name its cost in C(minimum_costs). For everything else to which other ready policies object
        too, say why in C(accepted).
      - C(name), C(description) - for people.
      - C(formats) - list of V(luks1) and V(luks2).
      - C(ciphers), C(keyslot_ciphers) - lists of ciphers for the data and for key material, by the kernel's names, such
        as V(aes-xts-plain64).
      - C(minimum_key_size), C(minimum_keyslot_key_size) - in bytes. AES-256 in XTS mode has 64.
      - C(kdf_types) - list of V(argon2id), V(argon2i) and V(pbkdf2).
      - C(kdf_hashes) - list of hashes that PBKDF2 and the anti-forensic split may use.
      - C(minimum_costs) - C(pbkdf2) is a number of iterations, or a dictionary from hash to iterations in which
        V(other) stands for all other hashes. C(argon2) is a list of pairs of C(time) (passes) and C(memory) (KiB), any
        of which suffices. C(tokens) is a dictionary from a type of token, such as V(systemd-tpm2), to the iterations
        that suffice for the random key behind it.
      - C(minimum_digest_iterations) - for the digest of the volume key.
      - C(required_labels) - labels of O(secrets) that must open the volume.
      - C(allowed_labels) - labels that the record in a header may have without a secret of that label in the task (with
        O(verify=record)).
      - C(token_types) - permitted types of tokens of other programs, such as V(systemd-tpm2). V([]) permits none.
      - C(retired_tang_keys) - thumbprints of Tang keys that must no longer unlock a volume through Clevis.
      - C(maximum_age_days) - age of a secret, from the record that M(luksmith.luks.keyslots) keeps in LUKS2 headers.
      - C(renewed_since) - dictionary from the name of an exposure to the day before which no secret may have been set.
      - C(recovery_labels) - labels of secrets for an emergency, one of which must open the volume.
      - C(shared_labels) - labels of secrets that may open volumes of several hosts, for a report of the fleet.
      - C(opened_by_grub) - whether GRUB must be able to open the keyslots that people use.
      - C(try_empty_secret) - whether to try the empty secret on keyslots that no given secret opens.
      - C(require_backup) - whether one of O(backups) must belong to the volume.
      - C(expected) - C(uuid), C(label), C(subsystem) and C(fingerprint) (see RV(fingerprint)) from an inventory.
      - C(rules) - dictionary from rule to V(critical), V(high), V(medium), V(low), V(info) or V(off).
      - C(accepted) - dictionary from rule to the reason why the policy does without it, for the report.
    type: raw
    default: strict
  secrets:
    description:
      - Secrets that may open the volumes. A keyslot that none opens is a finding; a secret that opens none, only if it
        is in C(required_labels). What a token yields counts as one. One that yields nothing leaves it RV(unverified).
    type: list
    elements: dict
    default: []
  forbidden_secrets:
    description:
      - Secrets that must open neither the volumes nor keyslots of O(backups) that the volume no longer has.
    type: list
    elements: dict
    default: []
  backups:
    description:
      - Paths of header backups on the managed host. Each one is compared with the volume of its UUID.
    type: list
    elements: path
    default: []
  verify:
    description:
      - How to find out which keyslots the secrets open.
      - V(proof) derives keys, so that every answer is proven.
      - V(record) trusts the record in a LUKS2 header for keyslots that no other program has written since, without a
        key derivation. Other keyslots are tried. The record can be forged, so the result has RV(verified=false) and the
        state V(recorded). It compares labels only, which shows nothing if a label was given to a second secret.
    type: str
    choices:
      - proof
      - record
    default: proof
  fail_on:
    description:
      - Lowest severity of a finding that fails the task. A requirement that could not be checked counts as a finding.
    type: str
    choices:
      - never
      - critical
      - high
      - medium
      - low
      - info
    default: never
seealso:
  - module: luksmith.luks.keyslots_info
  - module: luksmith.luks.keyslots
"""

EXAMPLES = r"""
- name: Check that a volume is up to the present defaults of cryptsetup
  luksmith.luks.audit:
    device: /dev/nvme0n1p3

- name: Check that only two known secrets open the volume, and that a leaked one does not
  luksmith.luks.audit:
    device: /dev/nvme0n1p3
    policy:
      extends: owasp-2023
      required_labels: [admin 2026, break-glass]
      maximum_age_days: 365
    secrets:
      - {label: admin 2026, passphrase: "{{ vault_admin_2026 }}"}
      - {label: break-glass, keyfile: /root/break-glass.key}
    forbidden_secrets:
      - {label: admin 2025, passphrase: "{{ vault_admin_2025 }}"}
    backups: [/var/backups/nvme0n1p3.header]
    fail_on: high

- name: Audit every night, without a key derivation if nothing has changed
  luksmith.luks.audit:
    devices: [/dev/sda2, /dev/sdb1]
    verify: record
    policy:
      extends: strict
      required_labels: [admin 2026]
  register: audit

- name: Show the findings
  ansible.builtin.debug:
    msg: "{{ audit.findings | map(attribute='message') }}"

- name: Audit an old volume, with one rule switched off and another one raised
  luksmith.luks.audit:
    device: /srv/archive.img
    policy:
      extends: legacy
      rules:
        hash-weak: "off"
        slot-ignored: high
      accepted:
        hash-weak: It is read once a year, and only offline
"""

RETURN = r"""
compliant:
  description:
    - Whether the policy holds and everything could be checked. Findings of severity V(info) do not count. It is proven
      only with RV(verified); without, it is as far as the header says (RV(state=recorded)).
  returned: success
  type: bool
  sample: false
state:
  description:
    - V(compliant), V(recorded) (as far as the header says, by its record or by tokens that O(policy) believes),
      V(unverified) or V(findings).
    - With O(devices) each item of RV(volumes) has it, which may also be V(failed).
  returned: success with O(device)
  type: str
  sample: findings
findings:
  description: Violations of the policy, most severe first.
  returned: success
  type: list
  elements: dict
  contains:
    device:
      description: The volume.
      returned: with O(devices)
      type: str
    rule:
      description: Name of the rule. It is stable.
      type: str
    severity:
      description: V(critical), V(high), V(medium), V(low) or V(info).
      type: str
    keyslot:
      description: The keyslot that the finding is about, or V(none).
      type: int
    message:
      description: What was found.
      type: str
    remedy:
      description: What to do about it.
      type: str
  sample:
    - keyslot: 1
      message: "'admin 2025' must not open the volume, but opens keyslot 1"
      remedy: >-
        Remove it with luksmith.luks.keyslots (state: absent, old_secret); it still opens old copies of the
        header, so destroy or replace those too
      rule: secret-forbidden
      severity: critical
unverified:
  description: Requirements of the policy that could not be checked, in the same form as RV(findings).
  returned: success
  type: list
  elements: dict
  sample:
    - keyslot: 2
      message: "it is unknown what opens keyslot 2: no secret was given"
      remedy: Give the secrets that may open the volume; audit_store gives those of the role rotate
      rule: slot-unknown
      severity: high
verified:
  description: V(false) if an answer is based only on the header, on its record or on tokens that O(policy) believes.
  returned: success
  type: bool
  sample: true
policy:
  description: Name of the policy, with the ready one that it extends and the number of its changes.
  returned: success
  type: str
  sample: team (owasp-2023, changed in 2 places)
evidence:
  description: What is needed to repeat the audit and to compare its answer. With O(devices) each volume has it too.
  returned: success
  type: dict
  contains:
    tool:
      description: The collection and its version.
      type: str
    time:
      description: When the audit began, in UTC.
      type: str
    host:
      description: Name that the host gives itself.
      type: str
    policy:
      description:
        - C(name), C(extends), C(text) (all requirements, in the form of O(policy)), C(digest) (SHA-256 over that as
          JSON with sorted keys and without spaces), C(changes) (each place that differs from the ready policy) and
          C(accepted).
      type: dict
    labels:
      description: Labels of O(secrets).
      type: list
      elements: str
    forbidden_labels:
      description: Labels of O(forbidden_secrets).
      type: list
      elements: str
    backups:
      description: The O(backups).
      type: list
      elements: str
    verify:
      description: The O(verify).
      type: str
  sample:
    backups: []
    forbidden_labels: []
    host: web-01
    labels: []
    policy:
      accepted: {}
      changes: []
      digest: 230648d5ed860162250f75e1d049e3b6b8d4cbcf84841ba14f394db1f1d78302
      extends: strict
      name: strict
      text:
        ciphers: [aes-xts-plain64]
        formats: [luks2]
        kdf_hashes: [sha256, sha384, sha512]
        kdf_types: [argon2id]
        keyslot_ciphers: [aes-xts-plain64]
        minimum_costs:
          argon2:
            - {memory: 65536, time: 4}
        minimum_digest_iterations: 1000
        minimum_key_size: 64
        minimum_keyslot_key_size: 64
        token_types: []
        try_empty_secret: true
    time: "2026-11-28T15:00:00Z"
    tool: luksmith.luks 1.0.0
    verify: proof
fingerprint:
  description:
    - SHA-256 of the header without key material. An inventory can store it and pass it to the next audit as C(expected)
      in O(policy), which then reveals every change of the header. Rotations change it too.
  returned: success with O(device), unless the header breaks the format
  type: str
  sample: 266ebbba95037a5b3acd1b8f28fb2c397e08629df4ea2966f1df2e73498f3887
key_digest:
  description:
    - SHA-256 of what the header stores to recognise its volume key. Clones have the same one, whatever their UUIDs are.
  returned: success with O(device), unless the header breaks the format
  type: str
  sample: 7ad6d0c1f7b0b6a1d6f2ee2c6a5ab1a3fe9b0d3b31a0a3d0c2f9a8a6a6b1c2d3
keyslots:
  description:
    - The keyslots as M(luksmith.luks.keyslots_info) returns them, with C(changed) (time of the last change from the
      record, or V(none)), C(age_days), C(recorded) (whether C(opened_by) is only from the record) and C(mark) (the
      highest severity of a finding there, or V(none)). If C(tried) is V(false) for an active one, C(reason) says why.
  returned: success with O(device)
  type: list
  elements: dict
  sample:
    - age_days: 12
      bound: true
      changed: "2026-11-12T01:04:41Z"
      kdf:
        memory: 1048576
        parallel: 4
        time: 4
        type: argon2id
      keyslot: 0
      mark:
      opened_by:
        - admin 2026
      priority: normal
      recorded: false
      state: active
      tokens: []
      tried: true
looked:
  description:
    - What there was to look at besides the header, so that a report can tell that a rule found nothing from that it had
      nothing to ask. C(fips) (the host is in FIPS mode), C(grub) (the host says that GRUB opens the volume),
      C(volume_key) (a secret gave it), C(empty_secret) (it was tried on each keyslot), C(record) (the record in the
      header describes a keyslot), C(store) (of a rotation, gave an answer), and the numbers of C(forbidden) secrets, of
      C(backups) with the UUID of the volume, and of secrets of the store that are C(older) (0 if one of them could not
      be tried) and C(kept).
  returned: success with O(device), unless the header breaks the format
  type: dict
  sample:
    backups: 0
    empty_secret: true
    fips: false
    forbidden: 0
    grub: false
    kept: 0
    older: 0
    record: true
    store: false
    volume_key: true
volumes:
  description:
    - One result for each volume, with the values for O(device). Volumes that failed have the members of the sample.
  returned: with O(devices)
  type: list
  elements: dict
  contains:
    also:
      description: Other given paths that lead to the same volume.
      returned: if there are any
      type: list
      elements: str
    msg:
      description: Why the volume could not be audited, or what is wrong with a header that breaks the format.
      returned: on failure, or when the header breaks the format
      type: str
  sample:
    - compliant: false
      device: /dev/sdb
      failed: true
      findings: []
      header:
      msg: >-
        /dev/sdb: It begins with zeros, not with a LUKS header. Check the path; this collection never formats a device.
        Nothing was changed.
      state: failed
      unverified: []
device:
  description: Path of the volume.
  returned: success with O(device)
  type: str
  sample: /dev/nvme0n1p3
header:
  description: Path of the detached header, or V(none).
  returned: success with O(device)
  type: str
  sample: /boot/sdc.header
uuid:
  description: UUID of the volume, empty if the header breaks the format.
  returned: success with O(device)
  type: str
  sample: 4b543c86-7353-47b9-b355-d0ef03989991
label:
  description: Label of a LUKS2 volume, else empty.
  returned: success with O(device)
  type: str
  sample: backup-disk
type:
  description: V(luks1) or V(luks2), or V(none) if the header breaks the format.
  returned: success with O(device)
  type: str
  sample: luks2
container:
  description: Whether the header is at the start of the device or file (V(raw)) or inside a qcow2 image (V(qcow2)).
  returned: success with O(device)
  type: str
  sample: raw
cipher:
  description: Cipher of the data.
  returned: success with O(device), unless the header breaks the format
  type: str
  sample: aes-xts-plain64
key_size:
  description: Size of the volume key in bytes.
  returned: success with O(device), unless the header breaks the format
  type: int
  sample: 64
slot_count:
  description: Number of keyslots of the format.
  returned: success with O(device), unless the header breaks the format
  type: int
  sample: 32
chain:
  description:
    - The other files of a qcow2 image, backing files beneath it and external data files; and with O(header) the device,
      if it has a LUKS header of its own. A change of the volume changes nothing in them.
  returned: success with O(device), if there are any
  type: list
  elements: dict
  contains:
    path:
      description: The path; of an address or a description in JSON only the protocol.
      type: str
    role:
      description: V(backing), V(data) or V(device).
      type: str
    format:
      description: V(qcow2), V(raw) or what the image says.
      type: str
    encrypted:
      description: Whether what it holds is encrypted, V(none) if that is not known.
      type: bool
    opened_by:
      description: Labels of the secrets of the task that open one of its own keyslots.
      type: list
      elements: str
    unknown:
      description: Its own keyslots that none of these opens.
      returned: if it is encrypted and was looked at
      type: list
      elements: int
    why_untried:
      description: Why it, or a keyslot of it, was not looked at.
      returned: if so
      type: str
  sample:
    - {path: /srv/base.qcow2, role: backing, format: qcow2, encrypted: true, opened_by: [leaked], unknown: [1]}
kdf_evaluations:
  description: Number of keys that were derived.
  returned: success
  type: int
  sample: 3
"""

import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.audit import audit
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.audit_task import parse_audit
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.fips import choose as choose_fips
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import NOTHING_CHANGED
from ansible_collections.luksmith.luks.plugins.module_utils._module.argument_spec import (
    Spec,
    secrets,
    unlocking,
    volume_options,
)
from ansible_collections.luksmith.luks.plugins.module_utils._module.runner import run_module
from ansible_collections.luksmith.luks.plugins.module_utils._module.safe_module import SafeModule


def argument_spec() -> Spec:
    return {
        "device": {"type": "path"},
        "devices": {"type": "list", "elements": "path"},
        **volume_options(),
        "policy": {"type": "raw", "default": "strict"},
        "secrets": {**unlocking(), "default": []},
        "forbidden_secrets": {**secrets(), "default": []},
        "backups": {"type": "list", "elements": "path", "default": []},
        "verify": {"type": "str", "choices": ["proof", "record"], "default": "proof"},
        "fail_on": {
            "type": "str",
            "choices": ["never", "critical", "high", "medium", "low", "info"],
            "default": "never",
        },
    }


def work(module: SafeModule) -> t.Dict[str, t.Any]:
    choose_fips(module.params["fips"])
    task = parse_audit(module.params)
    try:
        return audit(task)
    finally:
        task.wipe_secrets()


def main() -> None:
    module = SafeModule(argument_spec=argument_spec(), supports_check_mode=True)
    run_module(module, lambda: work(module), leaves=NOTHING_CHANGED)


if __name__ == "__main__":
    main()
