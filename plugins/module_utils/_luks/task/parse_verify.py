# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""From the arguments of ``verify_volume`` to a task, as :mod:`.parse_info` does for ``keyslots_info``."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import BadTask
from .options import items_of, parse_budget, parse_header_path, parse_path, parse_seconds
from .parse_info import InfoTask
from .secret_list import SecretList

REQUESTS = ("opens", "does_not_open", "keyslots", "tokens", "ignored", "same_volume_as", "unchanged_since")


@dataclasses.dataclass(frozen=True)
class VerifyTask:
    """What must hold of the volume of ``info``, whose secrets are those that must and that must not open it.

    opens, does_not_open: numbers of secrets; keyslots: those that must be active; tokens: sorted types; ignored: those
    keyslots that must have priority ignore; None: not asked
    same_volume_as, unchanged_since: path of an earlier copy, or None.
    """

    info: InfoTask
    opens: t.Tuple[int, ...]
    does_not_open: t.Tuple[int, ...]
    keyslots: t.Optional[t.Tuple[int, ...]]
    tokens: t.Optional[t.Tuple[str, ...]]
    ignored: t.Optional[t.Tuple[int, ...]]
    same_volume_as: t.Optional[str]
    unchanged_since: t.Optional[str]

    @property
    def assertions(self) -> int:
        asked = (self.keyslots, self.tokens, self.ignored, self.same_volume_as, self.unchanged_since)
        return len(self.opens) + len(self.does_not_open) + sum(one is not None for one in asked)


def parse_verify(params: t.Mapping[str, t.Any]) -> VerifyTask:
    """The task that ``params`` describe. Raises what :func:`parse_info` raises, and BadTask if they ask for nothing."""
    device = parse_path(params.get("device"), "device")
    same, since = params.get("same_volume_as"), params.get("unchanged_since")
    with SecretList() as secrets:
        wanted, unwanted = (
            tuple(
                dict.fromkeys(
                    secrets.number_of(item, f"{name}[{index}]") for index, item in enumerate(items_of(params, name))
                )
            )
            for name in ("opens", "does_not_open")
        )
        labels = secrets.labels()
        for number in wanted:
            if number in unwanted:
                raise BadTask(
                    f"{labels[number]!r} is in opens and in does_not_open", remedy="Remove it from one of them"
                )
        keyslots, ignored = (
            None if params.get(name) is None else tuple(sorted(set(items_of(params, name))))
            for name in ("keyslots", "ignored")
        )
        tokens = None if params.get("tokens") is None else tuple(sorted(items_of(params, "tokens")))
        if not wanted and not unwanted and all(one is None for one in (keyslots, tokens, ignored, same, since)):
            raise BadTask(
                "the task asks for nothing",
                why="A verification without an assertion would always succeed",
                remedy=f"Give at least one of {', '.join(REQUESTS)}; an empty list of secrets is none",
            ).on(device)
        return VerifyTask(
            InfoTask(
                device=device,
                header=parse_header_path(params),
                labels=labels,
                warnings=secrets.warnings(),
                lock_timeout=parse_seconds(params),
                budget=parse_budget(params),
                secrets=secrets.handed_over(),
            ),
            opens=wanted,
            does_not_open=unwanted,
            keyslots=keyslots,
            tokens=tokens,
            ignored=ignored,
            same_volume_as=None if same is None else parse_path(same, "same_volume_as"),
            unchanged_since=None if since is None else parse_path(since, "unchanged_since"),
        )
