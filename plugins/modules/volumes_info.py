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
  - Finds the LUKS1 and LUKS2 volumes of a host, on block devices and, with O(paths), in raw images, qcow2 images and
    detached headers.
  - "A task that finds images too is C(luksmith.luks.volumes_info: {paths: [/srv/images/*.img]})."
  - For each volume it shows whether it is open, under which name and where it is mounted, and which lines of crypttab
    refer to it.
  - Needs no external program and no secret. It reads the kernel's C(/sys) and C(/proc), the first bytes of every block
    device, and crypttab. It never writes, and briefly takes a lock only if a header seems to be written just now.
  - A volume that several paths lead to is listed once, for example links, a loop device and its file, a multipath
    device and its paths, or an assembled mirror and its members.
  - Without root, block devices cannot be read. The result then has what the kernel and udev tell every user,
    RV(volumes[].problem) says why there is no more, and RV(unreadable) lists devices about which nothing is known. The
    task does not fail.
extends_documentation_fragment:
  - luksmith.luks._attributes
  - luksmith.luks._attributes.info
options:
  paths:
    description:
      - Files to examine in addition to the block devices, such as raw images, qcow2 images and detached headers.
      - Each item is a path or a pattern with C(*), C(?) and C([...]); C(**) stands for any number of directories. As in
        a shell, a leading dot must be written out. Matches of a pattern that are not LUKS volumes are left out, and a
        pattern without any is in RV(unmatched). A path without a pattern is always returned, with
        RV(volumes[].problem) if it is not a volume.
    type: list
    elements: path
    default: []
  block_devices:
    description:
      - Whether to examine all block devices.
      - With V(false), only O(paths) and the files that O(crypttab) names are opened, for example in a test with images.
    type: bool
    default: true
  crypttab:
    description:
      - Path of the crypttab file on the host. A file that does not exist counts as empty.
    type: path
    default: /etc/crypttab
requirements:
  - Linux, Python 3.8 or newer
seealso:
  - module: luksmith.luks.keyslots_info
  - module: luksmith.luks.keyslots
"""

EXAMPLES = r"""
- name: Find the LUKS volumes of the host
  luksmith.luks.volumes_info:
  register: found

- name: Show one line for each volume
  ansible.builtin.debug:
    msg: >-
      {{ item.device }} ({{ item.type }}, {{ item.uuid }}){{ ', open as ' ~ item.open[0].name if item.open else '' }}
  loop: "{{ found.volumes }}"
  loop_control:
    label: "{{ item.device }}"

- name: Show the volumes below the file systems at / and /home
  ansible.builtin.debug:
    msg: "{{ item.device }}"
  loop: "{{ found.volumes }}"
  when: item.open | map(attribute='mounts') | flatten | intersect(['/', '/home'])

- name: Require that every volume could be examined
  ansible.builtin.assert:
    that:
      - found.unreadable == []
      - found.volumes | map(attribute='problem') | select | list == []

- name: Find the encrypted images of a hypervisor and detached headers, but no block devices
  luksmith.luks.volumes_info:
    paths:
      - /var/lib/libvirt/images/*.qcow2
      - /srv/images/**/*.img
      - /boot/headers/*
    block_devices: false

- name: Rotate the passphrase of every volume of the host
  luksmith.luks.keyslots:
    devices: "{{ found.volumes | rejectattr('header') | rejectattr('problem') | map(attribute='device') }}"
    keyslots:
      - old_secret: {label: admin 2025, passphrase: "{{ vault_admin_2025 }}"}
        new_secret: {label: admin 2026, passphrase: "{{ vault_admin_2026 }}"}
"""

RETURN = r"""
volumes:
  description: The volumes in the order of their devices, one item for each header.
  returned: success
  type: list
  elements: dict
  contains:
    device:
      description:
        - The path for O(luksmith.luks.keyslots#module:device). For a block device, C(/dev/mapper/NAME) if it has such a
          name, else its node. A file that O(paths) names takes precedence over the loop device on top of it.
        - For a device in crypttab that does not exist, the text in crypttab.
      type: str
    aliases:
      description:
        - Other paths that lead to the same volume, such as C(/dev/disk/by-id/...), the members of a multipath device or
          mirror, or loop devices.
      type: list
      elements: str
    header:
      description:
        - Path of the detached header for O(luksmith.luks.keyslots#module:header), if crypttab or O(paths) name one,
          else V(none).
      type: str
    uuid:
      description: UUID of the volume, which does not depend on device names. V(none) if it could not be read.
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
          description: Path of the mapping.
          type: str
        mounts:
          description:
            - Mount points of the mapping and of devices built on it (LVM, RAID, partitions, btrfs).
            - Mounts in other mount namespaces (containers) and ZFS pools are not visible.
          type: list
          elements: str
        swap:
          description: Whether swap space on it is in use.
          type: bool
        holders:
          description: Names of the devices that are built on the mapping.
          type: list
          elements: str
    crypttab:
      description: The lines of O(crypttab) for this volume, as written there.
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
          description:
            - Third field, V(none) if it is empty, C(none) or C(-). With the option C(keyscript=), the argument of that
              script.
          type: str
        options:
          description: Fourth field, split at its commas.
          type: list
          elements: str
        line:
          description: Number of the line, from 1.
          type: int
    problem:
      description: Why the header could not be read, or what is wrong with the volume. V(none) if there is no problem.
      type: str
    held_by:
      description:
        - The processes that hold the image file, by a lock or as QEMU does, as far as they can be seen. Empty for a
          block device.
      type: list
      elements: str
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
      held_by: []
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
      held_by: [pid 4711 (qemu-system-x86_64)]
      label: ""
      open: []
      problem: null
      size: 2295808
      type: luks1
      uuid: 59ac70ea-a20e-4c0a-8a64-b0ba4f9d0a01
partitions:
  description:
    - LUKS headers in the partitions of image files of O(paths). These are no volumes yet; C(losetup --find --show
      --partscan IMAGE) gives each partition a path.
  returned: success
  type: list
  elements: dict
  contains:
    image:
      description: Path of the image file.
      type: str
    partition:
      description: Number of the partition.
      type: int
    offset:
      description: The first byte of the partition.
      type: int
    uuid:
      description: UUID of the volume, V(none) if its header could not be read.
      type: str
    type:
      description: V(luks1) or V(luks2), V(none) if its header could not be read.
      type: str
    problem:
      description: Why the header could not be read, or V(none).
      type: str
  sample:
    - image: /var/lib/images/server.img
      partition: 3
      offset: 537919488
      uuid: 6d9cbd1c-4ea3-4f3c-8d57-3c3eae9ec1a2
      type: luks2
      problem: null
unmatched:
  description: Patterns of O(paths) that lead to no volume, for example because they are mistyped.
  returned: success
  type: list
  elements: str
  sample: []
unreadable:
  description: Block devices that could not be read and may be LUKS volumes, usually because the task lacks root.
  returned: success
  type: list
  elements: str
  sample: []
"""

import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import NOTHING_CHANGED
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.discovery import discover
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.images import held_by, in_partitions
from ansible_collections.luksmith.luks.plugins.module_utils._module.argument_spec import Spec
from ansible_collections.luksmith.luks.plugins.module_utils._module.runner import run_module
from ansible_collections.luksmith.luks.plugins.module_utils._module.wrong_task import CheckedModule


def argument_spec() -> Spec:
    return {
        "paths": {"type": "list", "elements": "path", "default": []},
        "block_devices": {"type": "bool", "default": True},
        "crypttab": {"type": "path", "default": "/etc/crypttab"},
    }


def work(module: CheckedModule) -> t.Dict[str, t.Any]:
    task = module.params
    found = discover(paths=task["paths"], block_devices=task["block_devices"], crypttab_path=task["crypttab"])
    for row in found["volumes"]:
        row["held_by"] = held_by(row["header"] or row["device"])
    return {"changed": False, **found, "partitions": in_partitions(task["paths"])}


def main() -> None:
    module = CheckedModule(argument_spec=argument_spec(), supports_check_mode=True)
    run_module(module, lambda: work(module), leaves=NOTHING_CHANGED)


if __name__ == "__main__":
    main()
