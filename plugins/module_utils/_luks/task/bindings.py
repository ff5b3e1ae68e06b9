# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The option ``binding`` of an entry: a TPM2 token of systemd or a Clevis token that is to be there, or not."""

from __future__ import annotations

import json
import os
import typing as t

from ..errors import BadSecret, BadTask
from ..header.foreign_tokens import CLEVIS, RECOVERY, TPM2, is_recovery_key
from ..value_kinds import kind_of
from .desired import ABSENT, Binding, Entry
from .secret_list import SecretList
from .secrets import Secret, TokenRequest, label_of
from .volume_keys import device_of, read_pin

_OF_TYPE = {TPM2: ("pcrs", "pin", "device"), CLEVIS: ("pin", "config")}
_HIGHEST_PCR = 23
_APART = ("keyslot", "new_secret", "old_secret", "pbkdf", "iter_time")


def binding_entry(params: t.Mapping[str, t.Any], position: int, state: str, secrets: SecretList) -> Entry:
    """The entry with the binding of ``params``. Raises BadTask if it is none, and what :func:`read_pin` raises."""
    name = f"keyslots[{position}]"
    useless = [option for option in _APART if params.get(option) is not None]
    if useless:
        raise BadTask(
            f"{name} has binding and {' and '.join(useless)}",
            why="its program draws the key of a binding, and it goes into a free keyslot",
            remedy=f"Remove {' and '.join(useless)}",
        )
    given = params["binding"]
    if not isinstance(given, t.Mapping) or given.get("type") not in _OF_TYPE:
        raise BadTask(f"{name}: binding has no type that is known", remedy=f"Its type is {' or '.join(_OF_TYPE)}")
    kind = str(given["type"])
    wrong = [option for option in ("pcrs", "pin", "device", "config") if given.get(option) is not None]
    wrong = [option for option in wrong if option not in _OF_TYPE[kind]]
    if wrong:
        raise BadTask(f"{name}: a binding of type {kind} has no {' and no '.join(wrong)}", remedy="Remove it")
    binding, pin = (_tpm2 if kind == TPM2 else _clevis)(given, f"{name}.binding", state)
    if state == ABSENT:
        return Entry(position=position, state=ABSENT, binding=binding)
    label = label_of(given.get("label"), f"{name}.binding")
    request = TokenRequest(kind, pin, binding.device, binding)
    secret = Secret(bytearray(os.urandom(32)), (label,) if label else (), token=request)
    return Entry(
        position=position,
        state=state,
        new_secret=secrets.add(secret, f"{name}.binding"),
        priority=params.get("priority"),
        binding=binding,
    )


def check_bindings(entries: t.Sequence[Entry]) -> None:
    """Raises BadTask if one binding is wanted twice, or one of a kind is wanted and another one is not."""
    for index, one in enumerate(entries):
        for other in entries[:index]:
            if one.binding is None or other.binding is None or not one.binding.same_kind(other.binding):
                continue
            if one.state != other.state or one.binding == other.binding:
                raise BadTask(
                    f"keyslots[{other.position}] and keyslots[{one.position}] are about the same binding",
                    why="what is present replaces the bindings of its kind that no entry wants",
                    remedy="remove one of them",
                )


def check_recovery(token: t.Any, secret: bytearray, name: str) -> None:
    """Raises BadTask if ``token`` is not that of a recovery key, BadSecret if ``secret`` is no recovery key."""
    if token != RECOVERY:
        raise BadTask(f"{name}: token is {token!r}", remedy=f"Use {RECOVERY}; for a TPM or Clevis, use binding")
    if not is_recovery_key(secret):
        raise BadSecret(
            f"{name} is not a recovery key",
            why=f"a token {RECOVERY} says that a machine drew it",
            remedy="Give 8 groups of 8 drawn letters of cbdefghijklnrtuv, joined by dashes, or leave out token",
        )


def _tpm2(given: t.Mapping[str, t.Any], name: str, state: str) -> t.Tuple[Binding, bytearray]:
    pcrs = given.get("pcrs")
    if pcrs is None and state != ABSENT:
        raise BadTask(
            f"{name} has no pcrs",
            why="what the TPM gives its key to is a decision",
            remedy="Give the numbers of the PCRs, such as [7], or [] for whatever this machine boots",
        )
    if pcrs is not None and not (
        isinstance(pcrs, (list, tuple))
        and all(isinstance(pcr, int) and not isinstance(pcr, bool) and 0 <= pcr <= _HIGHEST_PCR for pcr in pcrs)
    ):
        raise BadTask(f"{name}: pcrs is {pcrs!r}", remedy=f"Give a list of numbers from 0 to {_HIGHEST_PCR}")
    if state == ABSENT and given.get("pin") is not None:
        raise BadTask(f"{name} is {ABSENT} and has a pin", remedy="Remove it: nothing is unlocked")
    pin = read_pin(given.get("pin"), name)
    ordered = None if pcrs is None else tuple(sorted(set(pcrs)))
    return Binding(TPM2, ordered, bool(pin), device_of(given.get("device"), name)), pin


def _clevis(given: t.Mapping[str, t.Any], name: str, state: str) -> t.Tuple[Binding, bytearray]:
    pin, config = given.get("pin"), given.get("config")
    if pin is None and (state != ABSENT or config is not None):
        raise BadTask(f"{name} has no pin", remedy="Give the name of the Clevis pin: tang, tpm2 or sss")
    if pin is not None and not (isinstance(pin, str) and pin.isalnum() and pin.isascii()):
        raise BadTask(f"{name}: pin is {kind_of(pin)}, not the name of a pin", remedy="Use tang, tpm2 or sss")
    if config is not None and not isinstance(config, t.Mapping):
        raise BadTask(f"{name}: config is {kind_of(config)}", remedy="Write the dictionary that the pin takes")
    text = "" if config is None and state == ABSENT else json.dumps(config or {}, sort_keys=True)
    return Binding(CLEVIS, pin=pin or "", config=text), bytearray()
