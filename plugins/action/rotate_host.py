# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rotation of all volumes of a host, as one action: it carries out for Ansible what the machine asks of the world.

Options are read from the variables here and nowhere else, before the host is asked for anything. No secret is in the
task, in its result or in a variable; a store of tasks is the exception, because it could not work otherwise.
"""

from __future__ import annotations

import difflib
import os
import signal
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader
from ansible.utils.display import Display

from ..module_utils._luks.errors import LuksmithError, Unexpected, counted, shown
from ..module_utils._module.cores import forbid_core_dumps
from ..plugin_utils._arguments import arguments_of
from ..plugin_utils._batches import Batch, Batches, Stopped
from ..plugin_utils._made_in_run import Brought, MadeInRun, brought, told_of_owners
from ..plugin_utils._one_host import OneHost
from ..plugin_utils._play import batch_of
from ..plugin_utils._report.running import RunningReport
from ..plugin_utils._reports_of_run import note_report
from ..plugin_utils._rotation import beneath
from ..plugin_utils._rotation.journal import (
    AskTasks,
    Journal,
    KnownChance,
    KnownHost,
    KnownProgress,
    OfTasks,
)
from ..plugin_utils._rotation.machine import Rotation
from ..plugin_utils._rotation.role_variables import ON_THE_HOST, SPEC, names_of, options_of, shown_options
from ..plugin_utils._rotation.stores import Stored, StoreError, known
from ..plugin_utils._rotation.volume import DONE, PLANNED, Volume
from ..plugin_utils._rotation.world import Answer, Asked, Chance, Host, HostError, Phase, Progress
from ..plugin_utils._searched import searched
from ..plugin_utils._stores import check_name, is_class, store_of
from ..plugin_utils._this_run import controller, folder_of_batches, folder_of_run, identity_of_run

Result = t.Dict[str, t.Any]
_Told = t.List[t.Tuple[Volume, t.List[t.Dict[str, t.Any]]]]

_TABLES = ("before", "after", "keyslots")
_SEALED = " The secret of the store is sealed and was not tried, so that one keyslot of each volume may be its own."

# $1 is the name in crypttab, $2 the path of the keyfile. An image that cannot be looked into counts as one that holds
# it.
_QUESTION = """
PATH=$PATH:/usr/sbin:/sbin
for image in /boot/initrd.img-* /boot/initramfs-*.img; do
  [ -e "$image" ] || continue
  if command -v lsinitramfs >/dev/null; then list=lsinitramfs
  elif command -v lsinitrd >/dev/null; then list=lsinitrd
  else echo 'holds it'; exit; fi
  if "$list" "$image" | grep -q -F -e "cryptroot/keyfiles/$1.key" -e "${2#/}"; then echo 'holds it'; exit; fi
done
"""
_BUILD = """
PATH=$PATH:/usr/sbin:/sbin
if command -v update-initramfs >/dev/null; then exec update-initramfs -u -k all
elif command -v dracut >/dev/null; then exec dracut --regenerate-all --force
else
  echo 'This host has neither update-initramfs nor dracut. Build its initramfs in your own way, and set '\
'rotate_initramfs to never.' >&2
  exit 1
fi
"""


ARGUMENT_SPEC: t.Dict[str, t.Any] = {
    "journal": {"type": "list", "elements": "raw", "no_log": True},
    "answer": {"type": "raw", "no_log": True},
}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[Result] = None) -> Result:
        forbid_core_dumps()  # of this worker, which ends with this task
        super().run(tmp, task_vars)
        self._supports_check_mode = True
        arguments = arguments_of(self, ARGUMENT_SPEC)
        self._variables: Result = task_vars or {}
        one = OneHost(self, self._variables)
        batches = self._begin_batch(one.name)
        try:
            result = self._turn(one, arguments)
        except Exception:
            if batches is not None:
                batches.bad(one.name)
            raise
        if batches is not None and "asks" not in result:
            failed = result.get("outcome", result).get("failed")
            (batches.bad if failed else batches.fine)(one.name)
        return result

    def _turn(self, one: OneHost, arguments: Result) -> Result:
        host = one.name
        given = self._given(one)
        journal = Journal(arguments["journal"] or ())
        if arguments["answer"] is not None:
            journal.answers.append(arguments["answer"])
        world = _World(one)
        rotation = self._rotation(host, given, world, journal)
        report = self._begin_report(host, given)
        problem = ""
        try:
            rotation.run()
        except AskTasks as asked:
            return {"changed": False, "asks": asked.question, "journal": journal.answers}
        except HostError as error:
            problem = str(error)
        except AnsibleActionFail:
            raise
        except Exception as error:
            if not isinstance(error, (TypeError, ValueError, LookupError, AttributeError, LuksmithError)):
                # The host is gone. Its part of the report says so, too.
                self._report(report, host, given, rotation, "the host gave no answer")
                raise
            problem = str(Unexpected.of(error, changed="The next run of this playbook goes on where this one was"))
        result = self._result(one, rotation, problem, world, given["rotate_qmp"])
        patterns = () if given["rotate_volumes"] else given["rotate_paths"]
        allow_empty = given["rotate_allow_empty"]
        result["searched"] = searched(host, len(rotation.volumes), patterns, rotation.unmatched, allow_empty)
        self._report(report, host, given, rotation, problem)
        if arguments["journal"] is not None:
            # Its journal has secrets, so that the task has no_log, and Ansible does not show its diff.
            for diff in result.get("diff", ()):
                world.show(diff)
            return {"changed": result["changed"], "outcome": result, "searched": result["searched"]}
        return result

    def _begin_batch(self, host: str) -> t.Optional[Batches]:
        """Raises AnsibleActionFail if an earlier batch of this run was worse than the play allows."""
        if self._task.check_mode:
            return None  # nothing is touched, and the plan of all hosts is to be seen
        batches = Batches(folder_of_batches())
        try:
            batches.begin(host, self._batch())
        except Stopped as stopped:
            raise AnsibleActionFail(f"{host}: {stopped}") from None
        except LuksmithError as error:
            raise AnsibleActionFail(f"{host}: {error}") from None
        return batches

    def _batch(self) -> Batch:
        batch, whole = batch_of(self._task, self._variables, self._templar)
        if not whole and batch.limit is not None:
            Display().warning(
                "This release of ansible-core does not tell which hosts of the batch were lost before the rotation "
                "began. They do not count against max_fail_percentage here, and the others do. Please tell the "
                "developers of luksmith.luks which release it is (ansible --version)."
            )
        return batch

    def _given(self, host: OneHost) -> Result:
        """The variables of the role. Raises AnsibleActionFail."""
        given = host.options(SPEC, ON_THE_HOST)
        if not (given["rotate_generation"] or given["rotate_max_age"] or given["rotate_passphrase"] is not None):
            raise AnsibleActionFail(
                "Neither rotate_generation nor rotate_max_age nor rotate_passphrase is set, so that no volume that has "
                "a secret in the store would ever be due for a new one. Set one of them. Nothing was changed."
            )
        return given

    def _rotation(self, host: str, given: Result, world: _World, journal: Journal) -> Rotation:
        try:
            check_name(given["rotate_store"])
            options = options_of(given, host, check=bool(self._task.check_mode))
            if is_class(given["rotate_store"]):
                store = _Store(store_of(given["rotate_store"], given, self._loader._vault))
                return Rotation(options, world, store, world, Chance())
        except (StoreError, ValueError) as error:
            raise AnsibleActionFail(str(error)) from None
        asked: Host = KnownHost(world, journal)
        told: Progress = KnownProgress(world, journal)
        tasks: Asked = OfTasks(journal)
        return Rotation(options, asked, tasks, told, KnownChance(journal))

    def _result(
        self, one: OneHost, rotation: Rotation, problem: str, world: _World, monitors: t.Container[str] = ()
    ) -> Result:
        host = one.name
        volumes = rotation.volumes
        failed = [volume for volume in volumes if volume.failed]
        left = [_sentence_of_unknown(volumes), beneath.sentence(volumes)]
        result: Result = {
            "changed": any(volume.changed for volume in volumes),
            "volumes": [_without_tables(_row(volume, bool(self._task.check_mode))) for volume in volumes],
            "warnings": [
                *one.warnings,
                *_machines(volumes, monitors, bool(self._task.check_mode)),
                *(shown(said) for said in beneath.warnings(volumes)),
            ],
        }
        if self._task.diff:
            result["diff"] = [one for volume in volumes for one in volume.diffs if isinstance(one, t.Mapping)]
        result.update(one.facts())
        if failed or problem:
            parts = [f"{host}: {problem}" if problem else ""]
            if failed:
                verb = "was" if len(failed) == 1 else "were"
                parts.append(f"{len(failed)} of {counted(len(volumes), 'volume')} {verb} not brought to the end.")
            parts += [*(volume.msg for volume in failed), *left]
            return {**result, "failed": True, "msg": " ".join(shown(part) for part in parts if part)}
        changed = sum(volume.changed for volume in volumes)
        all_hosts = self._variables.get("ansible_play_hosts_all") or [host]
        place = f"host {all_hosts.index(host) + 1} of {len(all_hosts)}" if host in all_hosts else ""
        would = "would change" if self._task.check_mode else "changed"
        world.say(f"{host}: {counted(changed, 'volume')} {would}, {len(volumes) - changed} unchanged; {place}")
        for sentence in filter(None, left):
            world.say(f"{host}: {sentence}")
        return result

    def _begin_report(self, host: str, given: Result) -> t.Optional[RunningReport]:
        """Before the host is asked, so that a report that cannot be written stops the run before anything is changed.

        Raises AnsibleActionFail.
        """
        if not given["rotate_report"]:
            if given["rotate_report_command"]:
                raise AnsibleActionFail(
                    "rotate_report_command gets the report, and there is none. Set rotate_report to a folder, too. "
                    "No host was asked for anything in this task."
                )
            return None
        folder = os.path.join(os.path.abspath(self._loader.get_basedir()), given["rotate_report"])
        report = RunningReport(folder, identity_of_run())
        try:
            note_report(folder, given["rotate_report_command"])
            report.begin(host, lambda: self._facts_of_run(given))
        except LuksmithError as error:
            raise AnsibleActionFail(f"{error} No host was asked for anything in this task.") from None
        if report.superseded:
            Display().warning(f"{folder} has the report of a run that began later: what comes of {host} is not in it.")
        return report

    def _facts_of_run(self, given: Result) -> Result:
        hosts = list(self._variables.get("ansible_play_hosts_all") or [self._variables["inventory_hostname"]])
        return {
            "hosts": hosts,
            "beyond": sorted(set(self._targets()) - set(hosts)),
            "check": bool(self._task.check_mode),
            "store": ", ".join(names_of(given["rotate_store"])),
            **controller(),
        }

    def _targets(self) -> t.List[str]:
        """The hosts of the play, without regard to --limit."""
        found = lookup_loader.get("ansible.builtin.inventory_hostnames", loader=self._loader, templar=self._templar)
        patterns = self._task.get_play().hosts
        patterns = [patterns] if isinstance(patterns, str) else list(patterns)
        return list(found.run(patterns, variables=self._variables))

    def _report(
        self, report: t.Optional[RunningReport], host: str, given: Result, rotation: Rotation, problem: str
    ) -> None:
        """The part of this host, whatever came of it, in check mode too: it says what was seen."""
        if report is None:
            return
        check = bool(self._task.check_mode)
        part: Result = {"host": host, "volumes": [_row(volume, check) for volume in rotation.volumes]}
        part["options"] = shown_options(given)
        if problem:
            part["error"] = shown(problem)
        batch = self._variables.get("ansible_play_batch") or [host]
        try:
            report.answer(part, batch)
        except LuksmithError as error:
            raise AnsibleActionFail(str(error)) from None


class _Store:
    """A store that is a class, which need not be able to list what it holds."""

    def __init__(self, store: t.Any) -> None:
        self._store = store
        self.check = store.check
        self.read = store.read
        self.write = store.write

    def known(self, prefix: str) -> t.Optional[t.Mapping[str, Stored]]:
        return known(self._store, prefix)


class _World:
    """The host of the task, and the screen."""

    def __init__(self, one: OneHost) -> None:
        self._one = one
        self._display = Display()

    def say(self, text: str, *, loud: bool = True) -> None:
        # A line goes through a queue of all hosts. A process that Ctrl-C ends while it holds the lock of that queue
        # makes ansible-playbook wait for the lock forever.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        try:
            if loud:
                self._display.display(shown(text))
            else:
                self._display.v(shown(text))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def show(self, diff: t.Mapping[str, t.Any]) -> None:
        sides = [str(diff.get(side, "")).splitlines() for side in ("before", "after")]
        headers = [f"{side}: {diff.get(f'{side}_header', '')}" for side in ("before", "after")]
        for line in difflib.unified_diff(*sides, *headers, lineterm=""):
            self.say(line)

    def phase(self, volume: str, number: int, count: int, phase: Phase, says: str, loud: bool) -> None:
        told = f": {says}" if says else ""
        self.say(f"{self._one.name}: volume {number} of {count}, {volume}: {phase.value}{told}", loud=loud)

    def step(self, options: t.Mapping[str, t.Any]) -> Answer:
        others: t.Mapping[str, str] = {}
        if options["step"] == "add":
            others = self._others(brought(options, {}))
        answer = self._one.run("luksmith.luks.rotation_step", {**options, "others": list(others)})
        if options["step"] == "look":
            self._others(brought(options, answer))
        return told_of_owners(answer, others)

    def _others(self, secrets: Brought) -> t.Mapping[str, str]:
        """The secrets that other hosts bring to these volumes, with these as those of this one. Raises HostError."""
        made = MadeInRun(folder_of_run())
        try:
            # In this order: of two hosts at the same time, at least one learns of the other.
            made.note(self._one.name, secrets)
            return made.of_others(self._one.name, secrets)
        except LuksmithError as error:
            raise HostError(str(error)) from None

    def holds_keyfile(self, name: str, path: str) -> bool:
        answer = self._one.run("ansible.legacy.command", {"argv": ["sh", "-c", _QUESTION, "sh", name, path]})
        return "holds it" in str(answer.get("stdout"))

    def build_initramfs(self) -> None:
        self._one.run("ansible.legacy.command", {"argv": ["sh", "-c", _BUILD]})


def _without_tables(row: Result) -> Result:
    """For the result: the role registers it, so that Ansible keeps that of each host of a fleet."""
    return {name: value for name, value in row.items() if name not in _TABLES}


def _row(volume: Volume, check: bool) -> Result:
    """What the report sees of a volume; no secret is in it."""
    place = {"device": volume.before.device, "header": volume.before.header}
    if volume.group:
        place["group"] = volume.group.name
    if volume.chain:
        place["chain"] = volume.chain
    if volume.failed:
        return {**place, "state": volume.state, "phase": volume.failed_at, "msg": volume.msg}
    seen = volume.before
    return {
        **place,
        "uuid": seen.uuid,
        "type": seen.type,
        "container": seen.container,
        "state": PLANNED if check and volume.state == DONE else volume.state,
        "label": seen.label,
        "cipher": seen.cipher,
        "key_size": seen.key_size,
        "slot_count": seen.slot_count,
        "keyslots": volume.table,
        "plan": volume.actions,
        "before": seen.table,
        "after": volume.table,
        "secrets": volume.rounds,
        "unknown": volume.unknown,
        "closed": volume.closed,
    }


def _machines(volumes: t.Sequence[Volume], monitors: t.Container[str], check: bool) -> t.List[str]:
    """A sentence for each image of a virtual machine from which a secret goes: crypttab is not what starts that one."""
    verb = "will no longer open" if check else "no longer opens"
    return [
        f"{shown(volume.before.device)}: a replaced secret {verb} this image. Whoever starts a machine on it"
        " needs the new one, which the store has, before its next start (libvirt: 'virsh secret-set-value', QEMU:"
        " '-object secret')"
        for volume in volumes
        if (volume.before.container == "qcow2" or volume.before.device in monitors)
        and any(action.get("action") in ("erase", "rekey") for action in volume.actions)
    ]


def _sentence_of_unknown(volumes: t.Sequence[Volume]) -> str:
    strange: _Told = [(one, [row for row in one.unknown if row["tried"]]) for one in volumes if not one.sealed]
    beside: _Told = [(one, [row for row in one.unknown if row["tried"]]) for one in volumes if one.sealed]
    untried: _Told = [(one, [row for row in one.unknown if not row["tried"]]) for one in volumes]
    return " ".join(
        sentence
        for sentence in (
            _sentence(strange, "opens", "open", "with no secret of the store, of rotate_keeps or of rotate_replaces"),
            _sentence(beside, "opens", "open", "with no secret of rotate_keeps or of rotate_replaces", _SEALED),
            _sentence(untried, "was", "were", "not tried, so that nobody knows whose it is"),
        )
        if sentence
    )


def _sentence(told: _Told, one: str, several: str, rest: str, after: str = "") -> str:
    count = sum(len(rows) for _volume, rows in told)
    if not count:
        return ""
    places = (
        f"{volume.before.device} (keyslot {', '.join(_keyslot(row) for row in rows)})" for volume, rows in told if rows
    )
    keyslots = f"{count} keyslots {several}" if count > 1 else f"1 keyslot {one}"
    return f"{keyslots} {rest}: {'; '.join(places)}.{after}"


def _keyslot(row: t.Mapping[str, t.Any]) -> str:
    recorded = f", {row['label']!r} by the record in the header" if row["label"] else ""
    return f"{row['keyslot']}{recorded}{', because ' + row['reason'] if row['reason'] else ''}"
