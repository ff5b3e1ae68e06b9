# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The batch that a task is of, as ansible-core has it."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

pytest.importorskip("ansible")

import ansible.template  # noqa: E402
from ansible.inventory.manager import InventoryManager  # noqa: E402
from ansible.parsing.dataloader import DataLoader  # noqa: E402
from ansible.playbook.play import Play  # noqa: E402
from ansible.playbook.task import Task  # noqa: E402
from ansible.plugins.loader import init_plugin_loader  # noqa: E402
from ansible.template import Templar  # noqa: E402
from ansible.utils.collection_loader import AnsibleCollectionConfig  # noqa: E402
from ansible.vars.manager import VariableManager  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils import _play  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._batches import Batch  # noqa: E402

HOSTS = ("b", "a", "e", "d", "c")


@pytest.fixture(autouse=True, scope="module")
def _core_finds_its_own_modules() -> t.Iterator[None]:
    """ansible-core 2.19 cannot without this, which ansible-playbook does when it begins; 2.21 can."""
    begun = AnsibleCollectionConfig.collection_finder is None
    if begun:
        init_plugin_loader()
    yield
    if begun:
        AnsibleCollectionConfig.collection_finder._remove()


class Running:
    """A play of core's own making, at the task of its first host. batch: of the hosts; lost: of the play so far."""

    def __init__(self, folder: pathlib.Path, batch: str, lost: str, **play: t.Any) -> None:
        inventory, loader = folder / "hosts", DataLoader()
        inventory.write_text("[all]\n" + "".join(f"{host}\n" for host in HOSTS), encoding="utf-8")
        self.inventory = InventoryManager(loader, [str(inventory)])
        manager = VariableManager(loader, self.inventory)
        written = {"hosts": "all", "gather_facts": False, "tasks": [{"ping": {}}], **play}
        self.play = Play().load(written, variable_manager=manager, loader=loader)
        self.play._removed_hosts = list(lost)
        self.inventory.restrict_to_hosts([self.inventory.get_host(name) for name in batch])
        (self.task,) = (task for block in self.play.compile() for task in block.block if not task.implicit)
        host = self.inventory.get_host(next(name for name in batch if name not in lost))
        self.variables = manager.get_vars(play=self.play, host=host, task=self.task)
        self.templar = Templar(loader, variables=self.variables)

    def batch(self) -> t.Tuple[Batch, bool]:
        return _play.batch_of(self.task, self.variables, self.templar)


def test_lost_hosts_are_of_their_batch(tmp_path: pathlib.Path) -> None:
    running = Running(tmp_path, "ed", "ed"[:1])
    assert running.variables["ansible_play_batch"] == ["d"]
    batch, whole = running.batch()
    assert (whole, batch.hosts, batch.lost, batch.earlier, batch.limit) == (True, {"e", "d"}, {"e"}, set(), None)


@pytest.mark.parametrize(
    ("order", "batch", "earlier"),
    [
        ("inventory", "ed", "ba"),
        ("reverse_inventory", "ed", "c"),
        ("sorted", "cd", "ab"),
        ("reverse_sorted", "dc", "e"),
        ("shuffle", "cd", ""),
    ],
)
def test_which_hosts_come_before(tmp_path: pathlib.Path, order: str, batch: str, earlier: str) -> None:
    """The others may have been lost in a play before this one."""
    others = "".join(set(HOSTS) - set(batch))
    found, _whole = Running(tmp_path, batch, others, order=order).batch()
    assert (set(found.hosts), set(found.lost), set(found.earlier)) == (set(batch), set(others), set(earlier))


def test_the_limit_may_be_a_template(tmp_path: pathlib.Path) -> None:
    trusted = getattr(ansible.template, "trust_as_template", str)  # needed since 2.19
    assert Running(tmp_path, "ba", "", max_fail_percentage=trusted("{{ 5 * 5 }}%")).batch()[0].limit == 25.0


@pytest.mark.parametrize("broken", [None, object()])
def test_a_core_that_does_not_say(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, broken: t.Any) -> None:
    running = Running(tmp_path, "ed", "e")
    monkeypatch.setattr(Task, "get_variable_manager", lambda _self: broken)
    batch, whole = running.batch()
    assert (whole, batch.hosts, batch.lost) == (False, {"d"}, {"e"})
