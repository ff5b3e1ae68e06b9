# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""An audit from task to result, each volume on its own: an unreadable one does not hide others. Never writes."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ..crypto.kdf import Budget
from ..crypto.workers import Workers
from ..errors import LuksmithError, MalformedHeader, Refused, Unsupported, counted, expected_only
from ..result.actions import Result
from ..result.slot_table import rows
from ..task.secrets import Secret
from ..unlock.session import UnlockSession, all_cores
from ..usecases.devices import distinct_volumes, run_concurrently
from ..volume.read_header import read_header_locked
from ..volume.storage import Volume, open_volume
from . import rules
from .audit_task import NEVER, AuditTask
from .backups import BackupFiles
from .collect import EvidenceCollector
from .evidence import Evidence
from .looked import looked
from .policy import SEVERITIES, worst
from .rules_header import header_fingerprint, key_digest
from .rules_store import answer
from .tokens import believed_slots
from .traceable import MOMENT, evidence_of
from .unreadable import judge_unreadable

if t.TYPE_CHECKING:
    from ..usecases.chain import Chain

COMPLIANT, RECORDED, UNVERIFIED, FINDINGS, FAILED = STATES = (
    "compliant",
    "recorded",
    "unverified",
    "findings",
    "failed",
)
_ATTEMPTS = 3


def audit(task: AuditTask, *, now: t.Optional[datetime.datetime] = None) -> Result:
    """The audit of all volumes of the task; ``now``: the time in UTC, for tests.

    With ``devices``, a volume that cannot be read is an item of the result and sets ``failed``; the others are
    complete.

    Raises LuksmithError if, with ``device``, the volume cannot be read.
    """
    moment = now or datetime.datetime.now(datetime.timezone.utc)
    backup_files = BackupFiles(task.backups, task.lock_timeout)
    with all_cores(task.budget) as (budget, workers):
        if task.single:
            one = _OneAudit(task, task.devices[0], task.header, backup_files, budget, workers, 0, moment)
            return _finished(task, _single(one), moment)
        volumes = [
            _OneAudit(task, path, None, backup_files, budget, workers, rank, moment, names)
            for rank, (path, names) in enumerate(distinct_volumes(task.devices))
        ]
        threads = 1 + workers.cores  # some read while others derive keys
        audited = run_concurrently([volume.one_of_several for volume in volumes], threads, workers.stop)
        return _finished(task, _combined(task, audited, backup_files), moment)


def _finished(task: AuditTask, result: Result, now: datetime.datetime) -> Result:
    """With what makes the result, and each volume in it, traceable."""
    evidence = evidence_of(task, now)
    for one in (result, *result.get("volumes", ())):
        if "policy" in one:
            one.update(policy=evidence["policy"]["name"], evidence=evidence)
    return _with_fail_on(task, result)


def _single(volume: _OneAudit) -> Result:
    try:
        result = volume.result()
    except LuksmithError as error:
        raise error.on(volume.path) from None
    result["warnings"] = [*volume.task.warnings, *result["warnings"], *_unmatched_backups(volume.backup_files)]
    return {"changed": False, **result}


@dataclasses.dataclass(frozen=True)
class _OneAudit:
    """``rank``: its position in the task; ``names``: further paths to it."""

    task: AuditTask
    path: str
    header_path: t.Optional[str]
    backup_files: BackupFiles
    budget: Budget
    workers: Workers
    rank: int
    now: datetime.datetime
    names: t.Sequence[str] = ()

    def one_of_several(self) -> Result:
        try:
            with expected_only():
                one = self.result()
        except LuksmithError as error:
            one = {
                "device": self.path,
                "header": None,
                "state": FAILED,
                "compliant": False,
                "msg": str(error.on(self.path)),
                "findings": [],
                "unverified": [],
                "failed": True,
            }
        return {**one, **({"also": list(self.names)} if self.names else {})}

    def result(self) -> Result:
        with open_volume(self.path, self.header_path, writable=False) as volume:
            try:
                header = read_header_locked(volume, self.task.lock_timeout)
            except (MalformedHeader, Unsupported, Refused) as error:
                return _unreadable(self.task, volume, self.header_path, error)
            chain = self._chain(volume)
            for _attempt in range(_ATTEMPTS):
                collector = EvidenceCollector(self.task, volume, header, self.backup_files, self._unlock, self.now)
                evidence = collector.evidence()
                if chain is not None:
                    evidence = dataclasses.replace(evidence, chain=tuple(chain.rows))
                again = read_header_locked(volume, self.task.lock_timeout)
                result = _report(self.task, volume, self.header_path, evidence, collector.evaluations)
                result["warnings"] += collector.warnings
                if chain is not None:
                    result["warnings"] += chain.warnings
                    result.update(chain=chain.rows, kdf_evaluations=collector.evaluations + sum(chain.evaluations))
                if again.image() == header.image():
                    return result
                header = again
            result["warnings"].append("the header changed repeatedly during the audit; the result may mix two states")
            return result

    def _chain(self, volume: Volume) -> t.Optional[Chain]:
        """What the keyslots do not protect: files beneath a qcow2 image, a header of its own of a data device."""
        if not volume.has_others:
            return None
        from ..usecases.chain import chain_of

        return chain_of(volume, self.task.labels, lambda: self._unlock(self.task.secrets))

    def _unlock(self, secrets: t.Sequence[Secret]) -> UnlockSession:
        return UnlockSession(secrets, self.budget, self.workers, self.rank)


def _report(
    task: AuditTask, volume: Volume, header_path: t.Optional[str], evidence: Evidence, evaluations: int
) -> Result:
    header, policy = evidence.header, task.policy
    findings, unverified = rules.judge(evidence, policy)
    believed = believed_slots(evidence, policy)
    state = _state(findings, unverified, bool(evidence.recorded or believed))
    warnings = list(header.warnings)
    if evidence.recorded:
        warnings.append(
            "verify: record: the openers of keyslots come from the record in the header; no secret was tried on them, "
            "so that nothing is proven"
        )
    warnings += [
        f"keyslot {number} counts as the random key of its token by the word of the policy, which proves nothing"
        for number in believed
    ]
    return {
        "device": volume.path,
        "header": header_path,
        "uuid": header.uuid,
        "type": header.format,
        "container": volume.container,
        "label": header.label,
        "cipher": header.cipher,
        "key_size": header.key_size,
        "slot_count": header.slot_count,
        "fingerprint": header_fingerprint(evidence.raw),
        "key_digest": key_digest(header),
        "policy": policy.name,
        "state": state,
        "compliant": state in (COMPLIANT, RECORDED),
        "verified": not evidence.recorded and not believed,
        "findings": findings,
        "unverified": unverified,
        "keyslots": _table(evidence, [*findings, *unverified]),
        "looked": looked(evidence),
        **({"store": answer(evidence)} if evidence.stored is not None else {}),
        **({"prints": dict(evidence.prints)} if evidence.prints else {}),
        "kdf_evaluations": evaluations,
        "warnings": list(dict.fromkeys(warnings)),
    }


def _unreadable(task: AuditTask, volume: Volume, header_path: t.Optional[str], error: LuksmithError) -> Result:
    """A header that breaks the format is a finding, not a failure."""
    findings = judge_unreadable(error, volume.region.reread, volume.region.size, task.policy)
    return {
        "device": volume.path,
        "header": header_path,
        "uuid": "",
        "type": None,
        "container": volume.container,
        "label": "",
        "policy": task.policy.name,
        "state": FINDINGS,
        "compliant": False,
        "verified": False,
        "msg": str(error.on(volume.header_path)),
        "findings": findings,
        "unverified": [],
        "keyslots": [],
        "kdf_evaluations": 0,
        "warnings": [],
    }


def _table(evidence: Evidence, marks: t.Sequence[rules.Finding]) -> t.List[Result]:
    opened_by = {
        **evidence.opened_by,
        **{number: (*evidence.opened_by.get(number, ()), "(empty)") for number in evidence.empty},
    }
    silent = {number: evidence.silence(number) for number in evidence.header.keyslots if number not in opened_by}
    reasons = {**{number: why for number, why in silent.items() if why}, **evidence.untried}
    table = rows(evidence.header, opened_by, list(reasons))
    for row in table:
        changed = evidence.changed(row["keyslot"])
        row["changed"] = None if changed is None else changed.strftime(MOMENT)
        row["age_days"] = evidence.age_days(row["keyslot"])
        if not row["tried"] and row["keyslot"] in reasons:
            row["reason"] = reasons[row["keyslot"]]
        row["recorded"] = row["keyslot"] in evidence.recorded
        row["mark"] = worst(mark["severity"] for mark in marks if mark["keyslot"] == row["keyslot"])
    return table


def _state(findings: t.Sequence[rules.Finding], unverified: t.Sequence[rules.Finding], recorded: bool) -> str:
    """Severity info does not count, neither for findings nor for what could not be verified."""
    if any(finding["severity"] != "info" for finding in findings):
        return FINDINGS
    if any(one["severity"] != "info" for one in unverified):
        return UNVERIFIED
    return RECORDED if recorded else COMPLIANT


def _combined(task: AuditTask, volumes: t.Sequence[Result], backup_files: BackupFiles) -> Result:
    failed = [one for one in volumes if one["state"] == FAILED]
    findings = [{"device": one["device"], **finding} for one in volumes for finding in one["findings"]]
    findings.sort(key=lambda finding: SEVERITIES.index(finding["severity"]))
    warnings = [f"{one['device']}: {warning}" for one in volumes for warning in one.pop("warnings", ())]
    result: Result = {
        "changed": False,
        "policy": task.policy.name,
        "compliant": all(one["compliant"] for one in volumes),
        "verified": all(one.get("verified", False) for one in volumes),
        "findings": findings,
        "unverified": [{"device": one["device"], **other} for one in volumes for other in one["unverified"]],
        "volumes": list(volumes),
        "kdf_evaluations": sum(one.get("kdf_evaluations", 0) for one in volumes),
        "warnings": [*task.warnings, *dict.fromkeys(warnings), *_unmatched_backups(backup_files)],
    }
    if failed:
        result["failed"] = True
        counts = ", ".join(f"{sum(one['state'] == state for one in volumes)} {state}" for state in STATES)
        told = " ".join(one["msg"] for one in failed)
        result["msg"] = f"{len(failed)} of {counted(len(volumes), 'volume')} could not be audited ({counts}). {told}"
    return result


def _with_fail_on(task: AuditTask, result: Result) -> Result:
    """Apply ``fail_on``; what could not be verified counts like a finding of the same severity."""
    if task.fail_on == NEVER:
        return result
    bad = [
        one
        for one in (*result["findings"], *result["unverified"])
        if SEVERITIES.index(one["severity"]) <= SEVERITIES.index(task.fail_on)
    ]
    if bad and not result.get("failed"):
        result["failed"] = True
        first = bad[0]
        where = first.get("device") or result.get("device")
        result["msg"] = (
            f"{where}: {counted(len(bad), 'finding')} of severity {task.fail_on} or worse; the first: "
            f"{first['message']} ({first['rule']}). Nothing was changed."
        )
    return result


def _unmatched_backups(backup_files: BackupFiles) -> t.List[str]:
    return [
        f"the header backup {path} has uuid {header.uuid}, which no volume of this task has"
        for path, header in backup_files.headers.items()
        if path not in backup_files.used
    ]
