# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""From task arguments to the desired state: every check that needs no volume.

Options are read from plain dictionaries, as Ansible passes them; an option that is None counts as not given. Errors
name the place in the task ("keyslots[2].new_secret"), where the operator can look it up. The secrets are kept beside
the desired state, which knows them by number only.
"""

from __future__ import annotations

import os
import typing as t

from ..crypto.kdf import Budget
from ..errors import BadTask
from ..header.model import PRIORITY_IGNORE, PRIORITY_NORMAL, PRIORITY_PREFER
from .desired import ABSENT, PRESENT, Costs, Desired, Entry
from .normalize import normalize
from .options import (
    PROOF,
    RECORD,
    choice_of,
    items_of,
    parse_budget,
    parse_folder,
    parse_path,
    parse_seconds,
    parse_volumes,
    whole_number,
)
from .secret_list import SecretList
from .secrets import Secret
from .validate import check_entries
from .volume_keys import unlocking

PRIORITIES = (PRIORITY_IGNORE, PRIORITY_NORMAL, PRIORITY_PREFER)
HIGHEST_KEYSLOT = 31  # LUKS2; the planner, which knows the volume, refuses numbers that LUKS1 lacks
_OF_A_SECRET = ("old_secret", "pbkdf", "iter_time")
WIPES = ("auto", "single", "multiple")


class Task(t.NamedTuple):
    """A whole task of the ``keyslots`` module. ``secrets[n]`` are the bytes of secret number ``n`` of ``desired``.

    single:        the task has ``device``, so the result is that of one volume.
    lock_timeout:  seconds.
    qmp:           path of the monitor of the QEMU that has the volume open, or "".
    qemu_warnings: warnings for volumes that QEMU could open (LUKS1).
    """

    devices: t.Tuple[str, ...]
    single: bool
    header: t.Optional[str]
    desired: Desired
    secrets: t.Tuple[Secret, ...]
    warnings: t.Tuple[str, ...]
    qemu_warnings: t.Tuple[str, ...]
    lock_timeout: float
    record: bool
    verify: str
    wipe: str
    budget: Budget
    rederive: bool = False
    volume_keys: t.Tuple[Secret, ...] = ()
    qmp: str = ""

    def wipe_secrets(self) -> None:
        for secret in (*self.secrets, *self.volume_keys):
            secret.wipe()


def parse_task(params: t.Mapping[str, t.Any]) -> Task:
    """The task that ``params`` describe.

    Raises BadTask if an option is not valid and BadSecret if a secret is not; secrets read so far are wiped.
    """
    devices, single, header = parse_volumes(params)
    budget = parse_budget(params)
    with SecretList() as secrets:
        unlock = unlocking(secrets, items_of(params, "unlock"), "unlock")
        entries = tuple(_entry(item, index, secrets, budget) for index, item in enumerate(items_of(params, "keyslots")))
        if not entries:
            raise BadTask(
                "keyslots has no entry, so the task describes no state",
                why="with purge: true an empty list would erase every keyslot" if params.get("purge") else "",
                remedy="Give at least one entry; to inspect a volume, use luksmith.luks.keyslots_info",
            )
        desired = Desired(
            entries=entries,
            unlock=unlock,
            labels=secrets.labels(),
            purge=bool(params.get("purge")),
            force=bool(params.get("force")),
            allow_lockout=bool(params.get("allow_lockout")),
            volume_keys=tuple(key.labels[0] for key in secrets.volume_keys),
            backup_dir=parse_folder(params, "backup_dir"),
            by_token=tuple(number for number, secret in enumerate(secrets.members) if secret.token),
        )
        if any(entry.binding for entry in entries):
            from .bindings import check_bindings

            check_bindings(entries)
        _check_keyfiles(params, (*devices, *([header] if header else [])))
        check_entries(desired)
        desired = normalize(desired)
        new = {entry.new_secret for entry in entries}
        return Task(
            devices=devices,
            single=single,
            header=header,
            desired=desired,
            warnings=secrets.warnings(),
            qemu_warnings=tuple(
                f"The secret {desired.labels[number]} {secret.qemu_obstacle}: cryptsetup can open the volume with it, "
                "QEMU cannot."
                for number, secret in enumerate(secrets.members)
                if number in new and secret.qemu_obstacle
            ),
            lock_timeout=parse_seconds(params),
            record=params.get("record") is not False,
            verify=choice_of(params, "verify", (PROOF, RECORD)),
            wipe=choice_of(params, "wipe", WIPES),
            budget=budget,
            rederive=bool(params.get("rederive")),
            volume_keys=secrets.volume_keys_handed_over(),
            qmp=_monitor(params, single=single),
            secrets=secrets.handed_over(),  # last: from here on the caller wipes them
        )


def _monitor(params: t.Mapping[str, t.Any], *, single: bool) -> str:
    if params.get("qmp") is None:
        return ""
    if not single:
        raise BadTask(
            "qmp and devices are given together",
            why="One monitor serves one task at a time",
            remedy="Use device, in one task (or loop item) per volume",
        )
    return parse_path(params["qmp"], "qmp")


def _check_keyfiles(params: t.Mapping[str, t.Any], volumes: t.Sequence[str]) -> None:
    """Raises BadTask if a new secret is read from a volume of the task, whose bytes change with the same write."""
    for index, item in enumerate(items_of(params, "keyslots")):
        keyfile = (item.get("new_secret") or {}).get("keyfile")
        if keyfile is not None and any(_same_file(keyfile, volume) for volume in volumes):
            raise BadTask(
                f"keyslots[{index}].new_secret: keyfile {keyfile!r} is the volume itself",
                why="the header that the secret would be read from changes when the secret is added",
                remedy="Give the path of the keyfile",
            )


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):  # another message says what is wrong with the path, if that matters
        return False


def _entry(params: t.Any, position: int, secrets: SecretList, budget: Budget) -> Entry:
    name = f"keyslots[{position}]"
    if not isinstance(params, t.Mapping):
        raise BadTask(
            f"{name} is not a dictionary",
            remedy="An entry has state, keyslot, new_secret, old_secret, binding, iter_time, pbkdf and priority",
        )
    state = PRESENT if params.get("state") is None else params["state"]
    if state not in (PRESENT, ABSENT):
        raise BadTask(f"{name}: state is {state!r}", remedy=f"Use {PRESENT} or {ABSENT}")
    keyslot = whole_number(
        params.get("keyslot"), f"{name}: keyslot", 0, HIGHEST_KEYSLOT, "the number of a keyslot (LUKS1 has 0 to 7)"
    )
    if params.get("binding") is not None:
        from .bindings import binding_entry

        return binding_entry(params, position, state, secrets)
    if state == PRESENT:
        return _present(params, position, keyslot, secrets, budget)
    useless = [option for option in ("new_secret", "pbkdf", "iter_time", "priority") if params.get(option) is not None]
    if useless:
        raise BadTask(
            f"{name} is {ABSENT} and has {' and '.join(useless)}",
            why="an entry that removes keyslots sets no properties",
            remedy=f"Name the keyslot by keyslot, old_secret or both, or set state: {PRESENT}",
        )
    if keyslot is None and params.get("old_secret") is None:
        raise BadTask(
            f"{name} is {ABSENT} and has neither keyslot nor old_secret",
            why="it does not say which keyslot to erase",
            remedy="Give one of them, or both",
        )
    return Entry(
        position=position,
        state=ABSENT,
        keyslot=keyslot,
        old_secret=_optional_secret(params, "old_secret", name, secrets),
    )


def _present(
    params: t.Mapping[str, t.Any], position: int, keyslot: t.Optional[int], secrets: SecretList, budget: Budget
) -> Entry:
    name = f"keyslots[{position}]"
    priority = params.get("priority")
    ranks = keyslot is not None and priority is not None
    if params.get("new_secret") is None and not (ranks and all(params.get(option) is None for option in _OF_A_SECRET)):
        raise BadTask(
            f"{name} is {PRESENT} and has no new_secret",
            why="it does not say which secret is to open the keyslot",
            remedy=f"Give new_secret, or set state: {ABSENT}; to change only a priority, give keyslot and priority",
        )
    new_secret = None
    if params.get("new_secret") is not None:
        new_secret = secrets.number_of(params["new_secret"], f"{name}.new_secret", new=True)
        if params["new_secret"].get("token") is not None:
            from .bindings import check_recovery

            check_recovery(params["new_secret"]["token"], secrets.members[new_secret].value, f"{name}.new_secret")
    if priority is not None and priority not in PRIORITIES:
        raise BadTask(f"{name}: priority is {priority!r}", remedy=f"Use one of {', '.join(PRIORITIES)}")
    costs, iter_time = _costs(params, name, budget)
    return Entry(
        position=position,
        state=PRESENT,
        keyslot=keyslot,
        new_secret=new_secret,
        old_secret=_optional_secret(params, "old_secret", name, secrets),
        costs=costs,
        iter_time=iter_time,
        priority=priority,
        token=(params.get("new_secret") or {}).get("token") or "",
    )


def _costs(params: t.Mapping[str, t.Any], name: str, budget: Budget) -> t.Tuple[Costs, t.Optional[int]]:
    """The options ``pbkdf`` and ``iter_time``; most entries have neither."""
    if params.get("pbkdf") is None and params.get("iter_time") is None:
        return Costs(), None
    from .costs import check_affordable, parse_costs, parse_iter_time

    costs = parse_costs(params.get("pbkdf"), name)
    check_affordable(costs, budget, name)
    return costs, parse_iter_time(params.get("iter_time"), costs, name)


def _optional_secret(params: t.Mapping[str, t.Any], option: str, name: str, secrets: SecretList) -> t.Optional[int]:
    return None if params.get(option) is None else secrets.number_of(params[option], f"{name}.{option}")
