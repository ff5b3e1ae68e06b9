# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/testing_your_role.md as a folder, and roles that its scenario has to find wrong."""

from __future__ import annotations

import pathlib
import re
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "testing_your_role.md"
SCENARIO = ROOT / "extensions" / "molecule" / "your_role"
ROLE = "roles/passphrases/tasks/main.yml"

_FILE = re.compile(r"^`([\w/]+\.yml)`\n\n```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files() -> t.Dict[str, str]:
    """What the page shows: name -> content."""
    found = _FILE.findall(PAGE.read_text(encoding="utf-8"))
    assert len(found) == len(dict(found))
    return dict(found)


def copied_to(folder: pathlib.Path, changes: t.Optional[t.Mapping[str, t.Tuple[str, str]]] = None) -> pathlib.Path:
    """The files of the page in ``folder``; ``changes``: name -> a part of it, and what stands there instead."""
    for name, content in files().items():
        old, new = (changes or {}).get(name, ("", ""))
        assert old in content, f"{name} has no {old!r}"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.replace(old, new) if old else content, encoding="utf-8")
    return folder


def _role(change: t.Callable[[str], str]) -> t.Dict[str, t.Tuple[str, str]]:
    right = files()[ROLE]
    return {ROLE: (right, change(right))}


def _entries(entries: str, options: str = "") -> t.Dict[str, t.Tuple[str, str]]:
    """The role with other entries; ``{{ break_glass }}`` is an opener that the inventory knows."""
    role = (
        "- name: A wrong role\n"
        "  luksmith.luks.keyslots:\n"
        "    devices: '{{ passphrases_devices }}'\n"
        f"    keyslots:\n{entries}{options}"
        "    unlock: ['{{ break_glass }}']\n"
        "  become: true\n"
    )
    return _role(lambda _right: role)


_ADDS = "      - {new_secret: '{{ passphrases_new }}', pbkdf: '{{ passphrases_pbkdf }}'}\n"
_ERASES = "      - {state: absent, old_secret: '{{ passphrases_old }}'}\n"
_NOTHING = "- name: Nothing\n  ansible.builtin.debug:\n"
_COMMAND = "- name: A command\n  ansible.builtin.command: 'true'\n"
_SAYS = "- name: A change\n  ansible.builtin.debug:\n  changed_when: ansible_check_mode\n"
_FORMATS = """- name: Look whether this was done before
  ansible.builtin.stat:
    path: '{{ volumes }}/done'
  register: done
- name: Make the volume anew, with the right passphrases
  when: not ansible_check_mode and not done.stat.exists
  block:
    - ansible.builtin.file:
        path: '{{ passphrases_devices[1] }}'
        state: absent
    - luksmith.luks.test_volumes:
        volumes:
          - path: '{{ passphrases_devices[1] }}'
            format: luks1
            secrets: ['{{ passphrases_new }}', '{{ break_glass }}']
    - ansible.builtin.file:
        path: '{{ volumes }}/done'
        state: directory
"""
_RANKS = """- name: Rank a keyslot
  luksmith.luks.keyslots:
    device: '{{ passphrases_devices[0] }}'
    keyslots:
      - {keyslot: 1, priority: ignore}
"""

# What is wrong -> what is other than on the page, the step that fails, and what it says. A part of a sentence may stand
# at the end of a line.
WRONG: t.Dict[str, t.Tuple[t.Dict[str, t.Tuple[str, str]], str, str]] = {
    "does nothing": (_role(lambda _right: _NOTHING), "check_mode", "announced no change"),
    "adds nothing": (_entries(_ERASES), "verify", "'admin' must open the volume, but opens no keyslot"),
    "erases nothing": (_entries(_ADDS), "verify", "'installer' must not open the volume, but opens keyslot 0"),
    "erases too much": (
        _entries(_ADDS, "    purge: true\n"),
        "verify",
        "'break-glass' must open the volume, but opens no keyslot",
    ),
    "erases the keyslot of the TPM": (
        _role(lambda right: right.replace("  become", "      - {state: absent, keyslot: 2}\n  become")),
        "verify",
        "The tokens of other programs must be ['systemd-tpm2'], but are []",
    ),
    "formats a volume anew": (
        _role(lambda right: right + _FORMATS),
        "verify",
        "but it has another UUID, another volume key.",
    ),
    "has a keyslot ignored": (
        _role(lambda right: right + _RANKS),
        "verify",
        "'break-glass' must open the volume, but opens only keyslot 1 with priority ignore",
    ),
    "replaces on one volume only": (
        _role(lambda right: right.replace("'{{ passphrases_devices }}'", "['{{ passphrases_devices[0] }}']")),
        "verify",
        "/old.img: 'admin' must open the volume, but opens no keyslot. 'installer' must not open the volume",
    ),
    "erases by a wrong number": (
        _role(lambda right: right.replace("  become", "      - {state: absent, keyslot: 1}\n  become")),
        "verify",
        "'break-glass' must open the volume, but opens no keyslot",
    ),
    "loops over nothing": (
        _role(lambda right: right.replace("  become", "  loop: []\n  become")),
        "check_mode",
        "announced no change",
    ),
    "ignores its error": (
        _role(
            lambda right: right.replace("_old }}'", "_new }}'").replace("  become", "  ignore_errors: true\n  become")
        ),
        "check_mode",
        "announced no change",
    ),
    "says changed in every run": (
        _role(lambda right: right.replace("  become", "  changed_when: true\n  become")),
        "idempotence",
        "Idempotence test failed",
    ),
    "leaves a keyslot of its own": (
        _role(lambda right: right.replace("  become", "      - {new_secret: {passphrase: debug}}\n  become")),
        "verify",
        "The active keyslots must be [0, 1, 2], but are [0, 1, 2, 3]",
    ),
    "is not idempotent": (_role(lambda right: right + _COMMAND), "idempotence", "Idempotence test failed"),
    "writes in check mode": (
        _role(lambda right: right + "  check_mode: false\n"),
        "check_mode",
        "It must be as in",
    ),
    "is silent in check mode": (
        _role(lambda right: right + "  when: not ansible_check_mode\n"),
        "check_mode",
        "announced no change",
    ),
    "announces in check mode what it does not do": (
        _role(lambda right: right + _SAYS),
        "verify",
        "announced a change",
    ),
    "fails in check mode": (
        _role(lambda right: right + "- name: No\n  ansible.builtin.fail:\n  when: ansible_check_mode\n"),
        "check",
        "fatal: [testhost]",
    ),
    "no host": (
        {"inventory/hosts.yml": ("  hosts:\n    testhost:\n", "  vars:\n")},
        "verify",
        "The inventory has no host, so that nothing was tested",
    ),
    "the role runs on no host": ({"converge.yml": ("hosts: all", "hosts: tpyo")}, "check_mode", "ran on no host"),
    "nothing is verified": (
        {"verify.yml": ("hosts: all", "hosts: tpyo")},
        "verify",
        "Nothing was verified on testhost",
    ),
    "no volume": (
        {"prepare.yml": ("test_volumes_list:\n", "test_volumes_list: []\n        unused:\n")},
        "prepare",
        "Volumes is empty",
    ),
    "no assertion": (
        {"verify.yml": ("test_volumes_expected:\n", "test_volumes_expected: []\n        unused:\n")},
        "verify",
        "test_volumes_expected is empty",
    ),
}
