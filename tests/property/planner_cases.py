# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every task and every state of the small world, and how the number of cases is reduced without losing one.

Reductions of the main world, each with its argument:

1. *Secrets have no names.* Renaming the secrets of a task and of a state together renames the plan. Tasks are
enumerated
   up to renaming (the smallest of all renamings stands for its class); states stay complete.
2. *A secret that the task does not mention is a stranger.* The planner can ask only about secrets of the task, so a
slot
   of an unmentioned secret, a stranger's slot and a zombie give the same answers to every question that it can ask.
3. *Slots have an order only within their kind.* The design compares slot numbers in two places: the first free slot,
and
   the lowest slot of one secret. Permuting the slots of a state, and the numbers in the task with them, such that slots
   with equal contents keep their order changes neither. So states are enumerated as sorted contents (multisets), while
   the numbers in entries still run over all slots. (An oracle test checks this for the oracle.)

4. *An unlock secret that an entry mentions changes nothing.* The design reads ``unlock`` in two places. "Every proven
secret
   of the task counts" for openers: one that an entry mentions counts without ``unlock``. A proof allows ``present slot
   new`` to rekey an occupied slot unless the secret is in another present entry: a secret that an entry mentions is
   either such a new secret (never allows) or an old secret (allows without ``unlock``). So only unlock lists of secrets
   that no entry mentions are enumerated; what the planner is given has others mixed in, drawn case by case.

5. *A flag that the design does not read changes nothing.* ``force`` is about overwriting an occupied slot without
proof, which
   only ``present slot new`` without an old secret can ask for. ``allow_lockout`` consents to an end without a proven
   opener; an entry that is present forbids such an end, unless it wants the priority ignore, and once no opener is left
   nothing can be written to get one back. Such a flag is not enumerated but drawn case by case.

Reductions 1, 3, 4 and 5 are arguments about the design, not about the planner's code. So each case is not run as its
representative, but after a renaming of secrets, a permutation of slots, an addition of mentioned secrets to ``unlock``
and a toss of the flags that change nothing: the planner meets all names, orders, lists and flags, spread over the
cases.
"""

from __future__ import annotations

import itertools
import random
import typing as t

from ansible_collections.luksmith.luks.tests.property.planner_judge import Case
from ansible_collections.luksmith.luks.tests.property.planner_readings import contradiction
from ansible_collections.luksmith.luks.tests.property.planner_world import (
    ABSENT,
    FOREIGN,
    FREE,
    IGNORE,
    NORMAL,
    PREFER,
    PRESENT,
    Content,
    Item,
    Room,
    State,
    Task,
    content_of,
    fits,
    held,
    mentioned,
    opened_by,
    rooms,
)

# Side worlds: what else a slot can be. Each adds its contents to those of the main world.
# "mixed": entries of one list that want the same secret with and without a priority, or with and without costs.
SIDES = (
    *("priorities", "mixed priorities", "unbound", "tokens", "untried", "costs", "mixed costs"),
    *("equal secrets", "equal secrets and priorities", "equal secrets and costs"),
)

FLAGS = tuple(itertools.product((False, True), repeat=3))


def side_contents(side: str, secrets: t.Sequence[int]) -> t.List[int]:
    masks = [1 << secret for secret in secrets]
    pairs = list(itertools.combinations(masks, 2))
    found = {
        "": [],
        "priorities": [Content(opens=mask, priority=priority) for mask in masks for priority in (IGNORE, PREFER)],
        "unbound": [Content(opens=mask, bound=False) for mask in (0, *masks)],
        "tokens": [Content(opens=mask, token=True) for mask in (0, *masks)],
        "untried": [Content(tried=False)],
        "costs": [Content(opens=mask, weak=True) for mask in masks],
        "equal secrets": [Content(opens=one | other) for one, other in pairs],
        "equal secrets and priorities": [
            Content(opens=one | other, priority=priority)
            for one, other in pairs
            for priority in (NORMAL, IGNORE, PREFER)
        ],
        "equal secrets and costs": [
            Content(opens=one | other, weak=weak) for one, other in pairs for weak in (False, True)
        ],
    }[side.replace("mixed ", "")]
    return [held(content) for content in found]


def forms(slots: int, secrets: int, side: str = "") -> t.List[Item]:
    """Every form of an entry.

    ``old`` equal to ``new`` is refused without costs: only the side world of costs has it.
    """
    found = _plain_forms(slots, secrets)
    present = [item for item in found if item.state == PRESENT]
    if side.endswith("priorities"):
        found += [item._replace(priority=priority) for item in present for priority in (IGNORE, PREFER)]
    if side.endswith("costs"):
        found += [item._replace(strong=True) for item in present]
        found += [
            Item(PRESENT, slot=slot, new=name, old=name, strong=True)
            for slot in (None, *range(slots))
            for name in range(secrets)
        ]
    return found


def _plain_forms(slots: int, secrets: int) -> t.List[Item]:
    numbers = range(slots)
    names = range(secrets)
    pairs = [(old, new) for old in names for new in names if old != new]
    found = [Item(PRESENT, new=new) for new in names]
    found += [Item(PRESENT, slot=slot, new=new) for slot in numbers for new in names]
    found += [Item(PRESENT, new=new, old=old) for old, new in pairs]
    found += [Item(PRESENT, slot=slot, new=new, old=old) for slot in numbers for old, new in pairs]
    found += [Item(ABSENT, slot=slot) for slot in numbers]
    found += [Item(ABSENT, old=old) for old in names]
    found += [Item(ABSENT, slot=slot, old=old) for slot in numbers for old in names]
    return found


def _renamed_item(item: Item, names: t.Sequence[int], numbers: t.Optional[t.Sequence[int]] = None) -> Item:
    return item._replace(
        new=None if item.new is None else names[item.new],
        old=None if item.old is None else names[item.old],
        slot=item.slot if item.slot is None or numbers is None else numbers[item.slot],
    )


def _rank(item: Item) -> t.Tuple[t.Any, ...]:
    numbers = [-1 if number is None else number for number in (item.slot, item.new, item.old)]
    return (item.state, *numbers, item.priority or "", item.strong)


def entry_lists(slots: int, secrets: int, sizes: t.Iterable[int], side: str = "") -> t.Iterator[t.Tuple[Item, ...]]:
    """Lists of entries as multisets: the judge permutes each of them itself."""
    every = sorted(forms(slots, secrets, side), key=_rank)
    for size in sizes:
        for items in itertools.combinations_with_replacement(every, size):
            if not side or _is_mixed(items) == side.startswith("mixed"):
                yield items


def _is_mixed(items: t.Iterable[Item]) -> bool:
    wishes: t.Dict[t.Optional[int], t.Set[t.Tuple[bool, bool]]] = {}
    for item in items:
        if item.state == PRESENT:
            wishes.setdefault(item.new, set()).add((item.priority is None, item.strong))
    return any(len(found) > 1 for found in wishes.values())


def unlock_lists(secrets: int, longest: int = 2) -> t.List[t.Tuple[int, ...]]:
    return [subset for size in range(longest + 1) for subset in itertools.combinations(range(secrets), size)]


def is_first_of_its_class(items: t.Tuple[Item, ...], unlock: t.Tuple[int, ...], secrets: int) -> bool:
    """Is this the smallest of all renamings of the secrets?"""

    def key(names: t.Sequence[int]) -> t.Any:
        return sorted(_rank(_renamed_item(item, names)) for item in items), sorted(names[secret] for secret in unlock)

    mine = key(range(secrets))
    return all(mine <= key(names) for names in itertools.permutations(range(secrets)))


def states(slots: int, secrets: t.Iterable[int], side: str = "", *, reduced: bool = True) -> t.List[State]:
    """Contents slot by slot: inactive, foreign, one of the secrets, or the side world's; reduced: as multisets."""
    known = sorted(secrets)
    contents = [FREE, FOREIGN, *(opened_by(secret) for secret in known), *side_contents(side, known)]
    return list(
        itertools.combinations_with_replacement(contents, slots)
        if reduced
        else itertools.product(contents, repeat=slots)
    )


def _renamed_content(content: int, names: t.Sequence[int]) -> int:
    if not content:
        return content
    told = content_of(content)
    return held(
        told._replace(opens=sum(1 << names[secret] for secret in range(len(names)) if told.opens >> secret & 1))
    )


def compares_across_kinds(items: t.Iterable[Item]) -> bool:
    """Is one secret wanted with and without a number, or by two entries with different old secrets?"""
    ways: t.Dict[t.Optional[int], t.Set[t.Tuple[bool, t.Optional[int]]]] = {}
    for item in items:
        if item.state == PRESENT:
            ways.setdefault(item.new, set()).add((True, None) if item.slot is not None else (False, item.old))
    return any(len(found - {(False, None)}) > 1 or {(True, None), (False, None)} <= found for found in ways.values())


def flags_that_matter(items: t.Iterable[Item]) -> t.Tuple[bool, bool, bool]:
    """Reduction 5, in the order of :data:`FLAGS`: purge, force, allow_lockout."""
    present = [item for item in items if item.state == PRESENT]
    lockout = not [item for item in present if item.priority != IGNORE]
    return True, any(item.slot is not None and item.old is None for item in present), lockout


def disguise(task: Task, state: State, secrets: int, rng: random.Random) -> t.Tuple[Task, State]:
    """The same case under other names of secrets and another order of slots (equal contents keep their order)."""
    names = list(range(secrets))
    rng.shuffle(names)
    bags: t.Dict[int, t.List[int]] = {}
    for slot, content in enumerate(state):
        bags.setdefault(content, []).append(slot)
    order = list(state)
    if not compares_across_kinds(task.items):
        rng.shuffle(order)
    numbers = [0] * len(state)
    for place, content in enumerate(order):
        numbers[bags[content].pop(0)] = place
    items = [_renamed_item(item, names, numbers) for item in task.items]
    rng.shuffle(items)
    spare = sorted(mentioned(task) - set(task.unlock))
    relevant = flags_that_matter(task.items)
    flags = [
        given if matters else rng.random() < 0.5
        for given, matters in zip((task.purge, task.force, task.lockout), relevant)
    ]
    unlock = [names[secret] for secret in (*task.unlock, *rng.sample(spare, rng.randrange(len(spare) + 1)))]
    rng.shuffle(unlock)
    return Task(tuple(items), tuple(unlock), *flags, backup=task.backup), tuple(
        _renamed_content(content, names) for content in order
    )


class World(t.NamedTuple):
    """Bounds of a run. ``reduced``: the reductions above; otherwise every state in its own order, as enumerated.
    ``thin``: of the cases of one list, every N-th. ``backup``: all tasks have ``backup_dir``."""

    slots: int
    secrets: int
    sizes: t.Tuple[int, ...]
    side: str = ""
    reduced: bool = True
    thin: int = 1
    backup: bool = False

    def entry_lists(self) -> t.Iterator[t.Tuple[Item, ...]]:
        return entry_lists(self.slots, self.secrets, self.sizes, self.side)

    def rooms(self) -> t.Tuple[Room, ...]:
        return rooms(self.slots)

    def cases_of(self, items: t.Tuple[Item, ...]) -> t.Iterator[Case]:
        """The cases of one list of entries. A list that contradicts itself is tried in a few states only: it is judged
        on the numbers of secrets and slots, before any state is looked at."""
        rng = random.Random(repr(items))
        contradicts = contradiction(items) is not None
        matters = flags_that_matter(items) if self.reduced else (True, True, True)
        chosen = [flags for flags in FLAGS if all(matter or not flag for flag, matter in zip(flags, matters))]
        running = rng.randrange(self.thin)
        for unlock in unlock_lists(self.secrets):
            if self.reduced and (
                mentioned(Task(items)) & set(unlock) or not is_first_of_its_class(items, unlock, self.secrets)
            ):
                continue
            found = states(
                self.slots,
                mentioned(Task(items, unlock)),
                self.side,
                reduced=self.reduced and not compares_across_kinds(items),
            )
            if contradicts:
                found = rng.sample(found, min(2, len(found)))
            for room, state in itertools.product(self.rooms(), found):
                if not fits(state, room):
                    continue
                for flags in chosen:
                    running += 1
                    if running % self.thin:
                        continue
                    task = Task(items, unlock, *flags, backup=self.backup)
                    yield (
                        Case(*disguise(task, state, self.secrets, rng), room)
                        if self.reduced
                        else Case(task, state, room)
                    )

    def size_unreduced(self) -> int:
        """Cases with every state named slot by slot (strangers and zombies apart) and every list as a multiset."""
        lists = sum(1 for _items in self.entry_lists())
        contents = 3 + self.secrets + len(side_contents(self.side, range(self.secrets)))
        every = [
            sum(1 for content in state if content) for state in itertools.product(range(contents), repeat=self.slots)
        ]
        known = sum(1 for room in self.rooms() for active in every if room.areas is None or active <= room.areas)
        return lists * len(unlock_lists(self.secrets)) * len(FLAGS) * known
