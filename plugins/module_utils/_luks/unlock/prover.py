# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Proofs by derivation: which secret opens which keyslot. Each question is derived at most once, on all cores."""

from __future__ import annotations

import functools
import hashlib
import hmac
import typing as t

from ..crypto.memory import wipe
from ..crypto.workers import Job
from ..errors import LuksmithError, Refused
from ..header.model import LARGEST_KEY, Header, Keyslot, Token
from ..header.reading import Read
from ..task.secrets import Secret
from . import key_material
from .derivations import Derivations, Derived, HoldsBytes, Measurement
from .verdict import Verdict

if t.TYPE_CHECKING:
    from .tokens import Yielded


class _Trial(t.NamedTuple):
    """``key``: the volume key if the trial opened a bound keyslot and it was not known yet, else empty.

    material: hash of the key material that was read.
    """

    opened: bool
    key: bytearray
    measurement: Measurement
    material: bytes


class Prover:
    """The :class:`.plan.types.Proofs` of one volume whose header was read as ``header``.

    A keyslot holds one key: once a secret has opened it, another secret opens it only if the derivation takes both as
    the same bytes. Neither answer costs another derivation. So two secrets are never tried on one keyslot at the same
    time, and trials that :meth:`expect` begins early are never wasted.

    A result found early counts only once it is asked for (``_reported``), so that results do not depend on the number
    of cores.
    """

    def __init__(
        self,
        header: Header,
        read: Read,
        derivations: Derivations,
        hints: t.Mapping[int, int],
        volume_keys: t.Sequence[HoldsBytes] = (),
    ) -> None:
        self.header = header
        self.derivations = derivations
        self.volume_key: t.Optional[bytearray] = None
        self.measured: t.Optional[Measurement] = None
        self._read = read
        self._volume_keys = volume_keys
        self._not_the_key: t.Dict[int, str] = {}
        self._by_token = {
            number: secret.token
            for number, secret in enumerate(derivations.secrets)
            if isinstance(secret, Secret) and secret.token
        }
        self.yielded: t.Dict[int, Yielded] = {}
        self._hints = hints
        self._opener: t.Dict[int, int] = {}
        self._closed: t.Dict[int, t.List[int]] = {}
        self._measurements: t.Dict[int, Measurement] = {}
        self._faults: t.Dict[t.Tuple[int, int], BaseException] = {}
        self._reported_open: t.Set[int] = set()
        self._reported_closed: t.Dict[int, t.List[int]] = {}
        self._untriable: t.Dict[int, str] = {}
        self._material: t.Dict[int, bytes] = {}  # slot -> hash of the key material that opened
        self._queues: t.Dict[int, t.List[int]] = {}  # slot -> secrets that will be asked about, in this order
        self._jobs: t.Dict[int, t.Tuple[int, Job[_Trial]]] = {}  # slot -> the trial under way
        self._search: t.Tuple[int, t.List[int], bool] = (-1, [], False)

    def why_untried(self, keyslot: int) -> str:
        """As :meth:`.plan.types.Proofs.why_untried`."""
        if keyslot not in self._untriable:
            slot = self.header.keyslots[keyslot]
            digests = key_material.digests_of(self.header, slot)
            self._untriable[keyslot] = (
                self._out_of_reach(slot)
                or key_material.why_untriable(slot, digests, self.derivations.budget)
                or key_material.why_no_key_of(slot, digests)
            )
        return self._untriable[keyslot]

    def _out_of_reach(self, slot: Keyslot) -> str:
        if slot.number >= self.header.slot_count:
            return f"keyslots are numbered 0 to {self.header.slot_count - 1}, which is all that cryptsetup opens, too"
        end = slot.area.offset + key_material.material_size(slot)
        if end > self.header.extent and slot.key_size <= LARGEST_KEY:
            return (
                f"its key material would end at byte {end}, but the area for keyslots ends at byte {self.header.extent}"
            )
        return ""

    def hint(self, secret: int) -> t.Optional[int]:
        return self._hints.get(secret)

    def verdict(self, secret: int, keyslot: int) -> Verdict:
        """CLOSED if the keyslot is not bound. Raises what :meth:`try_slot` raises."""
        slot = self.header.keyslots.get(keyslot)
        return Verdict.CLOSED if slot is None or not slot.bound else self.try_slot(secret, keyslot)

    def opens_unbound(self, secret: int, keyslot: int) -> bool:
        """As :meth:`.plan.types.Proofs.opens_unbound`."""
        return self.try_slot(secret, keyslot) is Verdict.OPENS

    def expect(self, questions: t.Iterable[t.Tuple[int, int]], *, unbound: bool = False) -> None:
        if self.derivations.workers.cores < 2:
            return
        for secret, keyslot in questions:
            slot = self.header.keyslots.get(keyslot)
            if secret in self._by_token:  # asked alone, and only when its turn comes
                continue
            if slot is not None and (slot.bound or unbound) and not self.why_untried(keyslot):
                queue = self._queues.setdefault(keyslot, [])
                if secret not in queue:
                    queue.append(secret)
        self._advance()

    def expect_search(self, secret: int, keyslots: t.Sequence[int], *, in_vain: bool = False) -> None:
        bound = [
            keyslot for keyslot in keyslots if keyslot in self.header.keyslots and self.header.keyslots[keyslot].bound
        ]
        self._search = (
            secret,
            [keyslot for keyslot in bound if not self.why_untried(keyslot) and self._answer(secret, keyslot) is None],
            in_vain,
        )

    def try_slot(self, secret: int, keyslot: int) -> Verdict:
        """As :meth:`verdict`, but also for unbound keyslots, which open something other than the volume.

        Raises StorageFault if the key material cannot be read, and what :func:`.kdf.derive` raises.
        """
        if secret in self._by_token:
            return Verdict.OPENS if keyslot in self._ask(secret).keyslots else Verdict.CLOSED
        return self._derived_verdict(secret, keyslot)

    def token_failures(self, but: t.Container[t.Optional[int]] = ()) -> t.List[str]:
        """As :meth:`.plan.types.Proofs.token_failures`; but: numbers of tokens of which somebody else tells."""
        failures = [failure for yielded in self.yielded.values() for failure in yielded.failures]
        return [said for number, said in failures if number not in but]

    def _ask(self, secret: int) -> Yielded:
        """Ask the token of ``secret``, once."""
        if secret not in self.yielded:
            from .tokens import ask

            def proven(value: bytearray, token: Token) -> t.Tuple[int, ...]:
                self.derivations.replace(secret, Secret(value, ()))
                for closed in (*self._closed.values(), *self._reported_closed.values()):
                    closed[:] = [other for other in closed if other != secret]
                keyslots = [keyslot for keyslot in token.keyslots if keyslot in self.header.keyslots]
                verdicts = {keyslot: self._derived_verdict(secret, keyslot) for keyslot in keyslots}
                opened = tuple(keyslot for keyslot, verdict in verdicts.items() if verdict is Verdict.OPENS)
                untried = [keyslot for keyslot, verdict in verdicts.items() if verdict is Verdict.UNTRIED]
                if untried and not opened:
                    why = self.why_untried(untried[0])
                    raise Refused(f"its secret could not be tried on keyslot {untried[0]}: {why}")
                return opened

            self.yielded[secret] = ask(
                self.header, self._read, self._by_token[secret], proven, self.derivations.refused_pins
            )
        return self.yielded[secret]

    def _derived_verdict(self, secret: int, keyslot: int) -> Verdict:
        if self.why_untried(keyslot):
            return Verdict.UNTRIED
        while True:
            if (secret, keyslot) in self._faults:
                raise self._faults[secret, keyslot]
            opens = self._answer(secret, keyslot)
            if opens is not None:
                return self._report(secret, keyslot, opens)
            if keyslot not in self._jobs:
                self._begin(secret, keyslot)
                self._search_ahead(secret, keyslot)
            self._collect()

    def _answer(self, secret: int, keyslot: int) -> t.Optional[bool]:
        parameters = self.header.keyslots[keyslot].kdf
        opener = self._opener.get(keyslot)
        if opener is not None:
            return opener == secret or self.derivations.same_input(opener, secret, parameters)
        closed = self._closed.get(keyslot, ())
        return (
            False
            if any(tried == secret or self.derivations.same_input(tried, secret, parameters) for tried in closed)
            else None
        )

    def _is_open(self, secret: int, keyslot: int) -> bool:
        return (secret, keyslot) not in self._faults and self._answer(secret, keyslot) is None

    def _report(self, secret: int, keyslot: int, opens: bool) -> Verdict:
        if opens:
            self._reported_open.add(keyslot)
            self.measured = self.measured or self._measurements[keyslot]
        elif keyslot not in self._reported_open:
            self._reported_closed.setdefault(keyslot, []).append(secret)
        if opens and secret == self._search[0]:
            self._end_search()
        return Verdict.OPENS if opens else Verdict.CLOSED

    def _advance(self) -> None:
        """Begin the next expected trial on every keyslot without a running one."""
        for keyslot, queue in self._queues.items():
            while queue and keyslot not in self._jobs:
                secret = queue.pop(0)
                if self._is_open(secret, keyslot):
                    self._begin(secret, keyslot)

    def _begin(self, secret: int, keyslot: int) -> None:
        slot = self.header.keyslots[keyslot]
        check = functools.partial(self._check, slot)
        self._jobs[keyslot] = (
            secret,
            self.derivations.start(secret, slot.kdf, slot.area_key_size, check, lambda trial: wipe(trial.key)),
        )

    def _search_ahead(self, secret: int, keyslot: int) -> None:
        """After a miss on its first keyslot, or if it is expected to fail, a search uses all idle cores at once."""
        searched, keyslots, in_vain = self._search
        if secret != searched or keyslot not in keyslots or (keyslot == keyslots[0] and not in_vain):
            return
        for ahead in keyslots[keyslots.index(keyslot) + 1 :]:
            if self.derivations.workers.idle() < 1:
                return
            if ahead not in self._jobs and not self._queues.get(ahead) and self._is_open(secret, ahead):
                self._begin(secret, ahead)

    def _end_search(self) -> None:
        """The search has succeeded: drop its trials that have not begun."""
        secret, keyslots, _in_vain = self._search
        self._search = (-1, [], False)
        for keyslot in keyslots:
            trying, job = self._jobs.get(keyslot, (None, None))
            if job is not None and trying == secret and not job.begun and self.derivations.workers.abandon(job):
                del self._jobs[keyslot]

    def _collect(self) -> None:
        """Wait until a trial is done, note the results, and begin what follows from them."""
        self.derivations.workers.wait([job for _secret, job in self._jobs.values()])
        for keyslot, (secret, job) in list(self._jobs.items()):
            if job.done:
                del self._jobs[keyslot]
                self._note(secret, keyslot, job)
        self._advance()

    def _note(self, secret: int, keyslot: int, job: Job[_Trial]) -> None:
        try:
            trial = job.result()
        except (LuksmithError, OSError) as error:
            self._faults[secret, keyslot] = error
            return
        if trial.opened:
            self._opener[keyslot] = secret
            self._measurements[keyslot] = trial.measurement
            self._material[keyslot] = trial.material
        else:
            self._closed.setdefault(keyslot, []).append(secret)
        if trial.key and self.volume_key is None:
            self.volume_key = trial.key
        else:
            wipe(trial.key)

    def _check(self, slot: Keyslot, derived: Derived) -> _Trial:
        """Whether the derived key opens the keyslot; runs in the thread of the derivation."""
        sealed = self._read(slot.area.offset, key_material.material_size(slot))
        candidate = key_material.unseal(slot, derived.key, sealed)
        digests = key_material.digests_of(self.header, slot)
        known = self.volume_key
        # A volume that is being reencrypted has two volume keys; the one of segment 0 is kept.
        of_the_data = slot.bound and any(0 in digest.segments for digest in digests)
        if known is not None and of_the_data:
            opened, keep = hmac.compare_digest(candidate, known), False
        else:
            opened = any(key_material.matches(digest, candidate) for digest in digests)
            keep = opened and of_the_data
        if not keep:
            wipe(candidate)
        return _Trial(opened, candidate if keep else bytearray(), derived.measurement, _hash_of(sealed))

    def openers(self) -> t.Dict[int, t.Tuple[int, ...]]:
        """Keyslot -> the secrets that open it, as known by now. Tries nothing."""
        secrets = range(len(self.derivations.secrets))
        return {
            keyslot: tuple(secret for secret in secrets if self._answer(secret, keyslot))
            for keyslot in sorted(self._reported_open)
        }

    def known(self, secret: int, keyslot: int) -> t.Optional[bool]:
        """Whether the secret opens the keyslot, as far as :meth:`verdict` has said by now. Tries nothing."""
        if keyslot in self._reported_open:
            return self._answer(secret, keyslot)
        return False if keyslot in self._reported_closed and self._reported(secret, keyslot) else None

    def tried(self) -> t.Set[int]:
        """Keyslots that a secret opens or on which every secret was tried; others are unknown. Tries nothing.

        What a token yields is tried on the keyslots of the token only.
        """
        secrets = [number for number in range(len(self.derivations.secrets)) if number not in self._by_token]
        refused = {
            keyslot for keyslot in self._reported_closed if all(self._reported(secret, keyslot) for secret in secrets)
        }
        return self._reported_open | refused

    def _reported(self, secret: int, keyslot: int) -> bool:
        parameters = self.header.keyslots[keyslot].kdf
        return any(
            tried == secret or self.derivations.same_input(tried, secret, parameters)
            for tried in self._reported_closed[keyslot]
        )

    def stale(self, header: Header, read: Read) -> t.List[int]:
        """Keyslots of ``header`` that opened and have other key material since, with the same parameters.

        Raises what ``read`` raises.
        """
        return [
            keyslot
            for keyslot, name in sorted(self._material.items())
            if keyslot in header.keyslots
            and header.keyslots[keyslot].kdf == self.header.keyslots[keyslot].kdf
            and not hmac.compare_digest(
                name,
                _hash_of(
                    read(header.keyslots[keyslot].area.offset, key_material.material_size(header.keyslots[keyslot]))
                ),
            )
        ]

    def need_volume_key(self) -> bytearray:
        """The volume key, as the planner proves an opener before any action that needs it.

        Raises Refused if no secret opens the volume.
        """
        if self.volume_key is None:
            raise Refused(
                "no secret of this task opens a keyslot of the volume",
                why="the volume key is needed",
                remedy="give a secret that works today under unlock",
            )
        return self.volume_key

    def given_key(self) -> t.Optional[int]:
        """As :meth:`.plan.types.Proofs.given_key`; it becomes :attr:`volume_key` unless a secret gave that."""
        number = next((number for number in range(len(self._volume_keys)) if not self.why_not_key(number)), None)
        if number is not None and self.volume_key is None:
            self.volume_key = bytearray(self._volume_keys[number].value)
        return number

    def why_not_key(self, number: int) -> str:
        """As :meth:`.plan.types.Proofs.why_not_key`."""
        if number not in self._not_the_key:
            self._not_the_key[number] = key_material.why_not_the_key(
                self.header, self._volume_keys[number].value, self.derivations.budget
            )
        return self._not_the_key[number]

    def close(self) -> None:
        """Wipe the volume key, and drop running trials, whose keys are wiped when they end."""
        for _secret, job in self._jobs.values():
            self.derivations.workers.abandon(job)
        if self.volume_key is not None:
            wipe(self.volume_key)
            self.volume_key = None


class RecordProver(Prover):
    """Verdicts from the record alone (``verify: record``): no derivation and no proof.

    The record can be forged and does not show a damaged area. The caller reports such answers as unverified and plans
    again with real proofs before it writes.
    """

    def __init__(self, header: Header, derivations: Derivations, remembered: t.Mapping[int, t.Collection[int]]) -> None:
        super().__init__(header, _no_reading, derivations, {})
        self._remembered = remembered

    def expect(self, questions: t.Iterable[t.Tuple[int, int]], *, unbound: bool = False) -> None:
        pass

    def try_slot(self, secret: int, keyslot: int) -> Verdict:
        """Raises nothing: the record needs no derivation."""
        return Verdict.OPENS if secret in self._remembered.get(keyslot, ()) else Verdict.CLOSED


def _hash_of(sealed: bytes) -> bytes:
    return hashlib.sha256(sealed).digest()


def _no_reading(offset: int, length: int) -> bytes:
    raise LuksmithError(f"{length} bytes at byte {offset} were requested, although the record needs no key material")


def tokens_asked(prover: Prover, labels: t.Sequence[str]) -> t.List[t.Dict[str, t.Any]]:
    """For the result: each token that yielded a secret, by the label of its item in the task."""
    return [
        {
            "label": labels[secret],
            "token": yielded.token.number,
            "type": yielded.token.type,
            "keyslots": list(yielded.keyslots),
        }
        for secret, yielded in prover.yielded.items()
        if yielded.token is not None
    ]


def labels_by_keyslot(prover: Prover, labels: t.Sequence[str]) -> t.Dict[int, t.List[str]]:
    return {keyslot: [labels[secret] for secret in secrets] for keyslot, secrets in prover.openers().items()}
