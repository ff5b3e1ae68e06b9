#!/usr/bin/python
# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: volumes_info
short_description: Find every LUKS volume of a host
version_added: 1.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - Finds the LUKS1 and LUKS2 volumes of a host, on block devices and, where O(paths) says so, in raw images, qcow2 images and detached headers.
  - For each it tells whether it is open, under which name and where it is mounted, and which lines of crypttab speak of it.
  - No external program is needed, and no secret. It reads the kernel's C(/sys) and C(/proc), the first bytes of every block device, and crypttab.
    It never writes, and takes locks for a moment only where a header looks as if somebody was writing to it.
  - A volume that is found by several paths is listed once. That holds for links, for a loop device and its file, for a multipath device and its
    paths, and for an assembled mirror and its members.
  - Without root, block devices cannot be read. What the kernel and udev tell everybody is returned then, RV(volumes[].problem) says why there is
    not more, and RV(unreadable) lists the devices that nothing is known about. The task does not fail.
extends_documentation_fragment:
  - luksmith.luks._attributes
  - luksmith.luks._attributes.info
options:
  paths:
    description:
      - Files to look at beside the block devices, raw images, qcow2 images and detached headers.
      - Each item is a path or a pattern with C(*), C(?) and C([...]); C(**) stands for any number of directories. As in a shell, a leading dot
        must be written out. What a pattern matches and is no LUKS volume is passed over. A path without a pattern is returned in any case,
        with RV(volumes[].problem) if there is no volume.
    type: list
    elements: path
    default: []
  block_devices:
    description:
      - Whether to look at all block devices.
      - With V(false), only O(paths) and those files that O(crypttab) names are opened, which is what a test with images wants.
    type: bool
    default: true
  crypttab:
    description:
      - Path of the crypttab file on the host. One that does not exist has no lines.
    type: path
    default: /etc/crypttab
requirements:
  - Linux, Python 3.8 or newer
seealso:
  - module: luksmith.luks.keyslots_info
  - module: luksmith.luks.keyslots
"""

EXAMPLES = r"""
- name: Which LUKS volumes has this host?
  luksmith.luks.volumes_info:
  register: found

- name: One line for each
  ansible.builtin.debug:
    msg: "{{ item.device }} ({{ item.type }}, {{ item.uuid }}){{ ', open as ' ~ item.open[0].name if item.open else '' }}"
  loop: "{{ found.volumes }}"
  loop_control:
    label: "{{ item.device }}"

- name: Which volumes hold what is mounted at / or /home?
  ansible.builtin.debug:
    msg: "{{ item.device }}"
  loop: "{{ found.volumes }}"
  when: item.open | map(attribute='mounts') | flatten | intersect(['/', '/home'])

- name: No volume may escape the audit
  ansible.builtin.assert:
    that:
      - found.unreadable == []
      - found.volumes | map(attribute='problem') | select | list == []

- name: The encrypted images of a hypervisor, and detached headers, but no block devices
  luksmith.luks.volumes_info:
    paths:
      - /var/lib/libvirt/images/*.qcow2
      - /srv/images/**/*.img
      - /boot/headers/*
    block_devices: false

- name: The same passphrase for every volume of the host
  luksmith.luks.keyslots:
    devices: "{{ found.volumes | rejectattr('header') | rejectattr('problem') | map(attribute='device') }}"
    keyslots:
      - old_secret: {label: admin 2025, passphrase: "{{ vault_admin_2025 }}"}
        new_secret: {label: admin 2026, passphrase: "{{ vault_admin_2026 }}"}
"""

RETURN = r"""
volumes:
  description: The volumes, in the order of their devices. There is one item for each header.
  returned: success
  type: list
  elements: dict
  contains:
    device:
      description:
        - The path to give to O(luksmith.luks.keyslots#module:device). For a block device, C(/dev/mapper/NAME) where it has a name there, else its
          node. A file that O(paths) names comes before the loop device over it.
        - If crypttab names a device that does not exist, what it says.
      type: str
    aliases:
      description: Other paths that lead to the same volume, such as C(/dev/disk/by-id/...), the members of a multipath device or mirror, or loop devices.
      type: list
      elements: str
    header:
      description: Path of the detached header, where crypttab or O(paths) tell of one, else V(none). It belongs into O(luksmith.luks.keyslots#module:header).
      type: str
    uuid:
      description: UUID of the volume, which stays the same when devices change their names. V(none) if it could not be read.
      type: str
    type:
      description: V(luks1) or V(luks2). V(none) if it could not be read.
      type: str
    container:
      description: Whether the header is at the start of the device or file (V(raw)) or inside a qcow2 image (V(qcow2)).
      type: str
    label:
      description: Label of a LUKS2 volume, else empty.
      type: str
    size:
      description: Size of the device or file in bytes, V(0) if unknown.
      type: int
    open:
      description: The device-mapper devices that are open on the volume, usually none or one.
      type: list
      elements: dict
      contains:
        name:
          description: Name of the mapping.
          type: str
        node:
          description: Its path.
          type: str
        mounts:
          description:
            - Where it is mounted, itself or through what is built on it (LVM, RAID, partitions, btrfs).
            - Mounts in other mount namespaces (containers) and pools of ZFS are not seen.
          type: list
          elements: str
        swap:
          description: Whether swap space on it is in use.
          type: bool
        holders:
          description: Names of the devices that are built on it.
          type: list
          elements: str
    crypttab:
      description: The lines of O(crypttab) for this volume, as they are written.
      type: list
      elements: dict
      contains:
        name:
          description: First field, the name of the mapping.
          type: str
        source:
          description: Second field, the device.
          type: str
        keyfile:
          description: Third field, V(none) if it is empty, C(none) or C(-). With the option C(keyscript=), the argument of that script.
          type: str
        options:
          description: Fourth field, split at its commas.
          type: list
          elements: str
        line:
          description: Number of the line, from 1.
          type: int
    problem:
      description: Why the header could not be read, or what is wrong with the volume. V(none) if all is well.
      type: str
  sample:
    - aliases:
        - /dev/disk/by-id/nvme-SAMSUNG_MZVL21T0HCLR_S64NNX0T123456-part3
        - /dev/disk/by-partuuid/0cbd7c5e-03
        - /dev/disk/by-uuid/4b543c86-7353-47b9-b355-d0ef03989991
      container: raw
      crypttab:
        - keyfile: null
          line: 2
          name: system
          options:
            - luks
            - discard
          source: UUID=4b543c86-7353-47b9-b355-d0ef03989991
      device: /dev/nvme0n1p3
      header: null
      label: ""
      open:
        - holders:
            - vg-root
            - vg-swap
          mounts:
            - /
          name: system
          node: /dev/mapper/system
          swap: true
      problem: null
      size: 1022735147008
      type: luks2
      uuid: 4b543c86-7353-47b9-b355-d0ef03989991
    - aliases: []
      container: qcow2
      crypttab: []
      device: /var/lib/libvirt/images/guest.qcow2
      header: null
      label: ""
      open: []
      problem: null
      size: 2295808
      type: luks1
      uuid: 59ac70ea-a20e-4c0a-8a64-b0ba4f9d0a01
unreadable:
  description: Block devices that could not be looked at and that may be LUKS volumes or not, usually for want of root.
  returned: success
  type: list
  elements: str
  sample: []
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._luks.errors import NOTHING_CHANGED
from ..module_utils._luks.volume.discovery import discover
from ..module_utils._module.argument_spec import Spec
from ..module_utils._module.runner import run_module


def argument_spec() -> Spec:
    return {
        "paths": {"type": "list", "elements": "path", "default": []},
        "block_devices": {"type": "bool", "default": True},
        "crypttab": {"type": "path", "default": "/etc/crypttab"},
    }


def work(module: AnsibleModule) -> t.Dict[str, t.Any]:
    task = module.params
    return {"changed": False, **discover(paths=task["paths"], block_devices=task["block_devices"], crypttab_path=task["crypttab"])}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    run_module(module, lambda: work(module), leaves=NOTHING_CHANGED)


if __name__ == "__main__":
    main()
