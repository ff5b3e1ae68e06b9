# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""Which secret this run brings to which volume of which host, so that a volume that two hosts have does not get two.

The processes of a run share it. The labels in it come from the stores and from chance; of the UUIDs, a host can only
say wrong ones of its own volumes.
"""

from __future__ import annotations

import json
import os
import typing as t

from ..module_utils._luks.errors import BadTask
from ..module_utils._luks.paths import fault

Brought = t.Set[t.Tuple[str, str]]  # (UUID of a volume in lower case, label of the secret that it is to have)


class MadeInRun:
    """What is brought where, in a file of ``folder``."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, "secrets")

    def note(self, host: str, secrets: Brought) -> None:
        """``host`` brings these. Raises LuksmithError."""
        lines = "".join(f"{json.dumps([uuid, label, host])}\n" for uuid, label in sorted(secrets))
        if not lines:
            return
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            with open(self._path, "ab", buffering=0) as noted:  # a line of another process comes before or after
                noted.write(lines.encode("ascii"))
        except OSError as error:
            raise fault(self._path, "cannot be written", error) from None

    def of_others(self, host: str, secrets: Brought) -> t.Dict[str, str]:
        """Label -> host, of those that another host brings to a volume with one of these UUIDs. Raises LuksmithError.

        Those of a whole fleet would be a list that grows with it, for each host.
        """
        try:
            with open(self._path, "rb") as noted:
                found = [json.loads(line) for line in noted.read().splitlines()]
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise fault(self._path, "cannot be read", error) from None
        except ValueError:
            raise BadTask(f"{self._path} was cut short", remedy="Run the playbook again") from None
        uuids = {uuid for uuid, _label in secrets}
        here = [(label, owner) for uuid, label, owner in found if uuid in uuids]
        own = {label for label, owner in here if owner == host}
        return {label: owner for label, owner in here if label not in own}


def brought(options: t.Mapping[str, t.Any], answer: t.Mapping[str, t.Any]) -> Brought:
    """What a step is to bring to the volumes of a host, or what a look found due on those that are there: the store may
    know volumes that have gone to another host.
    """
    volumes = answer.get("volumes")
    listed = volumes if isinstance(volumes, list) else []
    there = {str(one.get("uuid")).lower() for one in listed if isinstance(one, t.Mapping)}
    works = [*options["volumes"], *(work for work in options.get("orders", ()) if work["uuid"] in there)]
    return {
        (str(work["uuid"]), str(entry["new_secret"]["label"]))
        for work in works
        for entry in work.get("keyslots", ())
        if entry.get("new_secret")
    }


def told_of_owners(answer: t.Mapping[str, t.Any], owners: t.Mapping[str, str]) -> t.Mapping[str, t.Any]:
    """The answer with the hosts whose secrets its messages name, which the host that answered does not know."""
    volumes = answer.get("volumes")
    for volume in volumes if isinstance(volumes, list) and owners else ():
        said = volume.get("msg") if isinstance(volume, dict) else None
        if isinstance(said, str):
            told = [f"{label} is that of {owner}." for label, owner in sorted(owners.items()) if f"{label}," in said]
            volume["msg"] = " ".join([said, *told])
    return answer
