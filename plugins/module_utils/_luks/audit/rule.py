# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What a rule is, and what it says: a hit is a finding, or an honest "nobody could verify this"."""

from __future__ import annotations

import dataclasses
import typing as t

from .evidence import Evidence
from .policy import OFF, Policy

# What a rule looks at. SECRETS is the only one that may cost key derivations.
HEADER, AREA, SECRETS, RECORD, BACKUP = "header", "key material", "secrets", "record", "backup"


@dataclasses.dataclass(frozen=True)
class Hit:
    """One thing that a rule has to say of a volume.

    unverified: the policy asks for something that could not be tried or looked up; neither a pass nor a finding.
    """

    message: str
    remedy: str
    keyslot: t.Optional[int] = None
    unverified: bool = False


Check = t.Callable[[Evidence, Policy], t.Iterable[Hit]]


@dataclasses.dataclass(frozen=True)
class Rule:
    """A stable name, what it finds, how bad that is, and the function that looks.

    severity:   without a policy that says otherwise.
    option:     the policy key that gives the rule its measure; where the policy leaves it out, the rule has nothing to say.
    references: CVE numbers and the like; facts about the form that the rule finds, not about the programs installed.
    """

    id: str
    severity: str
    about: str
    looks_at: str
    check: Check
    option: str = ""
    references: t.Tuple[str, ...] = ()


class RuleSet:
    """The rules of one file, in the order in which they are written."""

    def __init__(self) -> None:
        self.rules: t.List[Rule] = []

    def rule(
        self,
        id: str,
        severity: str,
        about: str,
        looks_at: str = HEADER,
        *,
        option: str = "",
        references: t.Sequence[str] = (),
    ) -> t.Callable[[Check], Check]:
        def register(check: Check) -> Check:
            self.rules.append(Rule(id, severity, about, looks_at, check, option, tuple(references)))
            return check

        return register


def severity_of(rule: Rule, policy: Policy) -> t.Optional[str]:
    """How bad a hit is under ``policy``; None: the policy switched the rule off."""
    severity = policy.rules.get(rule.id, rule.severity)
    return None if severity == OFF else severity
