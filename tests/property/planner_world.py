# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The small world of the planner's brute force: what a slot holds, what a task says, where areas fit.

A state is a tuple with one small int per slot: 0 is inactive, any other number stands for a :class:`Content`. A
stranger's slot and a zombie (enabled, area wiped) are one content here, ``FOREIGN``: the planner learns of a slot only
what
``SlotView`` and the verdicts say, and these are the same for both, so both are the same input.
"""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import model
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan import types as words
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task import desired as task_desired
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import verdict as unlock_verdict

PRESENT = "present"
ABSENT = "absent"
NORMAL = "normal"
IGNORE = "ignore"
PREFER = "prefer"

LABELS = "ABCDEFGH"

State = t.Tuple[int, ...]
FREE = 0
UNIT = 0x1000


class Content(t.NamedTuple):
    """What an active slot holds. ``opens``: bit mask of the secrets that open it, if it can be tried; one that is not
    bound they open to another key.
    """

    opens: int = 0
    bound: bool = True
    tried: bool = True
    priority: str = NORMAL
    token: bool = False
    weak: bool = False


class Item(t.NamedTuple):
    """One entry of the task's list; secrets are numbers. ``strong``: explicit costs above those of a weak slot."""

    state: str
    slot: t.Optional[int] = None
    new: t.Optional[int] = None
    old: t.Optional[int] = None
    priority: t.Optional[str] = None
    strong: bool = False


class Task(t.NamedTuple):
    items: t.Tuple[Item, ...]
    unlock: t.Tuple[int, ...] = ()
    purge: bool = False
    force: bool = False
    lockout: bool = False
    backup: bool = False  # backup_dir is given


class Room(t.NamedTuple):
    """Where slots fit. ``areas``: number of LUKS2 areas; None is LUKS1 (every slot has its own place)."""

    name: str
    areas: t.Optional[int]

    @property
    def format(self) -> str:
        return "luks1" if self.areas is None else "luks2"


_contents: t.List[t.Optional[Content]] = [None]
_numbers: t.Dict[Content, int] = {}
OPENS: t.List[int] = [0]


def held(content: Content) -> int:
    """The number that stands for ``content`` in a state."""
    number = _numbers.get(content)
    if number is None:
        number = _numbers[content] = len(_contents)
        _contents.append(content)
        OPENS.append(content.opens if content.bound and content.tried else 0)
    return number


def content_of(number: int) -> Content:
    found = _contents[number]
    assert found is not None, "an inactive slot holds nothing"
    return found


FOREIGN = held(Content())


@functools.lru_cache(maxsize=None)
def opened_by(secret: int) -> int:
    """A plain slot that only ``secret`` opens."""
    return held(Content(opens=1 << secret))


def number_of(number: t.Optional[int]) -> int:
    """A field that this form of entry always has."""
    assert number is not None
    return number


def rooms(slots: int) -> t.Tuple[Room, ...]:
    more, less = (
        Room("luks2, one area more than numbers", slots + 1),
        Room("luks2, one area less than numbers", slots - 1),
    )
    return (Room("luks1", None), Room("luks2", slots), more, less)


def fits(state: State, room: Room) -> bool:
    """Are there areas enough, and for LUKS1 nothing that only LUKS2 has?"""
    if room.areas is None:
        return all(not number or _luks1_can(content_of(number)) for number in state)
    return sum(1 for number in state if number) <= room.areas


def _luks1_can(content: Content) -> bool:
    return content.bound and not content.token and content.priority == NORMAL


def mentioned(task: Task) -> t.Set[int]:
    found = set(task.unlock)
    for item in task.items:
        found.update(secret for secret in (item.new, item.old) if secret is not None)
    return found


def _layout(state: State, room: Room) -> model.Layout:
    active = [number for number, content in enumerate(state) if content]
    if room.areas is None:
        fixed = {number: model.Extent(UNIT * (number + 1), UNIT) for number in range(len(state))}
        return model.Layout(slot_count=len(state), taken={number: fixed[number] for number in active}, fixed=fixed)
    window = model.Extent(UNIT, UNIT * room.areas)
    # With areas enough each slot keeps its own, so that gaps lie between slots; otherwise they are packed.
    places = {number: (number if room.areas >= len(state) else rank) for rank, number in enumerate(active)}
    taken = {number: model.Extent(UNIT * (place + 1), UNIT) for number, place in places.items()}
    return model.Layout(slot_count=len(state), taken=taken, window=window, unit=UNIT)


def _kdf(content: Content, room: Room) -> model.Kdf:
    iterations = 1000 if content.weak else 100000
    if room.areas is None:
        return model.Pbkdf2("sha256", iterations, b"\0" * 32)
    return model.Argon2("argon2id", 4, iterations, 1, b"\0" * 32)


@functools.lru_cache(maxsize=20000)
def situation(state: State, room: Room) -> words.Situation:
    slots = {}
    for number, held_number in enumerate(state):
        if held_number:
            content = content_of(held_number)
            slots[number] = words.SlotView(
                number=number,
                kdf=_kdf(content, room),
                bound=content.bound,
                priority=content.priority,
                protected_by=("systemd-tpm2",) if content.token else (),
            )
    return words.Situation(format=room.format, slot_count=len(state), slots=slots, layout=_layout(state, room))


@functools.lru_cache(maxsize=20000)
def desired(task: Task, luks1: bool = False) -> task_desired.Desired:
    """The task in the planner's words; labels stop at the highest secret that the task mentions."""
    strong = task_desired.Costs(iterations=50000) if luks1 else task_desired.Costs(memory=50000)
    entries = tuple(
        task_desired.Entry(
            position=position,
            state=item.state,
            keyslot=item.slot,
            new_secret=item.new,
            old_secret=item.old,
            priority=item.priority,
            costs=strong if item.strong else task_desired.Costs(),
        )
        for position, item in enumerate(task.items)
    )
    labels = tuple(LABELS[: max(mentioned(task), default=-1) + 1])
    return task_desired.Desired(
        entries=entries,
        unlock=task.unlock,
        labels=labels,
        purge=task.purge,
        force=task.force,
        allow_lockout=task.lockout,
    )


class CountingProofs:
    """Proofs over a state. ``asked`` counts every question, ``derived`` the different ones that cost a derivation.

    With ``hints`` the record suggests slots that may be stale; a hint may never change an outcome.
    """

    def __init__(self, state: State, hints: t.Optional[t.Mapping[int, int]] = None) -> None:
        self.state = state
        self.hints = hints or {}
        self.asked = 0
        self.derived: t.Set[t.Tuple[int, int]] = set()

    def verdict(self, secret: int, keyslot: int) -> unlock_verdict.Verdict:
        self.asked += 1
        assert self.state[keyslot], f"slot {keyslot} is inactive, nothing can be tried on it"
        content = content_of(self.state[keyslot])
        if not content.bound:
            return unlock_verdict.Verdict.CLOSED
        if not content.tried:
            return unlock_verdict.Verdict.UNTRIED
        self.derived.add((secret, keyslot))
        return unlock_verdict.Verdict.OPENS if content.opens >> secret & 1 else unlock_verdict.Verdict.CLOSED

    def opens_unbound(self, secret: int, keyslot: int) -> bool:
        content = content_of(self.state[keyslot])
        assert not content.bound, f"slot {keyslot} is bound"
        return bool(content.opens >> secret & 1)

    def why_untried(self, keyslot: int) -> str:
        assert self.state[keyslot], f"slot {keyslot} is inactive, nothing can be tried on it"
        return "" if content_of(self.state[keyslot]).tried else "unsupported cipher 'serpent'"

    def hint(self, secret: int) -> t.Optional[int]:
        return self.hints.get(secret)

    def expect(self, questions: t.Iterable[t.Tuple[int, int]]) -> None:
        pass

    def expect_search(self, secret: int, keyslots: t.Sequence[int], *, in_vain: bool = False) -> None:
        pass


def show_state(state: State) -> str:
    parts = []
    for number, held_number in enumerate(state):
        if held_number:
            content = content_of(held_number)
            name = "".join(LABELS[secret] for secret in range(8) if content.opens >> secret & 1) or "x"
            told_marks = {
                "unbound": not content.bound,
                "untried": not content.tried,
                "token": content.token,
                "weak": content.weak,
            }
            marks = [mark for mark, told in told_marks.items() if told]
            if content.priority != NORMAL:
                marks.append(content.priority)
            parts.append(f"{number}:{name}" + (f"({','.join(marks)})" if marks else ""))
    return "{" + ", ".join(parts) + "}" + f"/{len(state)}"


def show_task(task: Task) -> str:
    shown = []
    for item in task.items:
        words_of = [item.state]
        words_of += [f"slot {item.slot}"] if item.slot is not None else []
        words_of += [f"old {LABELS[item.old]}"] if item.old is not None else []
        words_of += [f"new {LABELS[item.new]}"] if item.new is not None else []
        words_of += [f"priority {item.priority}"] if item.priority else []
        words_of += ["strong"] if item.strong else []
        shown.append(" ".join(words_of))
    flags = [
        name
        for name, told in (
            ("purge", task.purge),
            ("force", task.force),
            ("allow_lockout", task.lockout),
            ("backup_dir", task.backup),
        )
        if told
    ]
    return f"[{'; '.join(shown)}] unlock={''.join(LABELS[secret] for secret in task.unlock) or '-'}" + (
        f" {' '.join(flags)}" if flags else ""
    )
