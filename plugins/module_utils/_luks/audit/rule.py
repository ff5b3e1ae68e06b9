# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What a rule is. Its hits are findings, or things that could not be verified."""

from __future__ import annotations

import dataclasses
import typing as t

from .evidence import Evidence
from .policy import OFF, Policy

# What a rule inspects. Only SECRETS may need key derivations.
HEADER, AREA, SECRETS, RECORD = "header", "key material", "secrets", "record"
BACKUP, POLICY, STORE = "backup", "policy", "store"


@dataclasses.dataclass(frozen=True)
class Hit:
    """One result of a rule for a volume.

    unverified: something that the policy requires could not be tried or looked up; neither a pass nor a finding.
    """

    message: str
    remedy: str
    keyslot: t.Optional[int] = None
    unverified: bool = False


Check = t.Callable[[Evidence, Policy], t.Iterable[Hit]]


@dataclasses.dataclass(frozen=True)
class Rule:
    """A stable name, what it finds, how severe that is, and the function that checks it.

    severity:   the default; a policy may set another one.
    option:     the policy key with the requirement; without it in the policy, the rule has no hits.
    references: CVE numbers and so on; they apply to the header that the rule finds, not to installed programs.
    """

    id: str
    severity: str
    about: str
    looks_at: str
    check: Check
    option: str = ""
    references: t.Tuple[str, ...] = ()


class RuleSet:
    """The rules of one file, in order."""

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
        """Register the decorated function as the check of a rule; the arguments are those of :class:`Rule`."""

        def register(check: Check) -> Check:
            self.rules.append(Rule(id, severity, about, looks_at, check, option, tuple(references)))
            return check

        return register


def severity_of(rule: Rule, policy: Policy) -> t.Optional[str]:
    """The severity of a hit under ``policy``; None if the policy switches the rule off."""
    severity = policy.rules.get(rule.id, rule.severity)
    return None if severity == OFF else severity
