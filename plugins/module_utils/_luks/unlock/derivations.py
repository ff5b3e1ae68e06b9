# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Keys of keyslots derived from secrets: each at most once in a run, counted, as many at once as the host allows."""

from __future__ import annotations

import hmac
import threading
import time
import typing as t

from ..crypto import kdf
from ..crypto.memory import wipe
from ..crypto.workers import Inline, Job, Workers
from ..errors import LuksmithError, Refused
from ..header.model import Kdf, Pbkdf2

T = t.TypeVar("T")

Question = t.Tuple[int, Kdf, int]  # secret number, parameters, length of the key in bytes


class HoldsBytes(t.Protocol):
    @property
    def value(self) -> bytearray:
        """The bytes of a secret."""


class Measurement(t.NamedTuple):
    """The time of one derivation that opened a keyslot: the only benchmark of this collection.

    seconds: what cryptsetup with OpenSSL would have needed (:func:`kdf.usual_seconds`).
    """

    kdf: Kdf
    length: int
    seconds: float


class Derived(t.NamedTuple):
    """``key`` belongs to :class:`Derivations`, which wipes it."""

    key: bytearray
    measurement: Measurement


class Derivations:
    """Derives keys of keyslots and counts them in ``evaluations``, the ``kdf_evaluations`` of a result.

    Each PBKDF2 or Argon2 that begins, from a secret to the key of a keyslot area, counts, whether for a trial or a new
    keyslot. The PBKDF2 that compares a volume key with its digest does not; the prover runs one for each trial until
    one opens. Derived keys are kept until :meth:`close`, so that planning again for a changed header derives nothing
    twice.
    """

    def __init__(
        self,
        secrets: t.Sequence[HoldsBytes],
        budget: kdf.Budget,
        workers: t.Union[Workers, Inline, None] = None,
        rank: int = 0,
    ) -> None:
        self.secrets = list(secrets)
        self._owned: t.List[HoldsBytes] = []
        self.budget = budget
        self.workers = workers or Inline()
        self.evaluations = 0
        # Token, PIN and why it yielded nothing: a TPM counts each try, so that no run makes the same one twice.
        self.refused_pins: t.List[t.Tuple[t.Any, bytearray, LuksmithError]] = []
        self._rank = rank
        self.timed: t.Dict[str, Measurement] = {}
        self._derived: t.Dict[Question, Derived] = {}
        self._under_way: t.Dict[Question, Job[None]] = {}
        self._closed = False
        self._lock = threading.RLock()

    def derive(self, secret: int, parameters: Kdf, length: int) -> bytearray:
        """``length`` bytes, which the caller wipes. Raises what :func:`.kdf.derive` raises."""
        key = (secret, parameters, length)
        self.finish([key])
        return bytearray(self._derived[key].key)

    def prepare(self, key: Question, *, early: bool = False) -> None:
        """Begin a derivation for a later :meth:`derive`; ``early``: only while a core would be idle otherwise."""
        if key not in self._derived and key not in self._under_way:
            self._under_way[key] = self.start(*key, lambda derived: None, early=early)

    def give_up(self, key: Question) -> None:
        """The prepared key is not needed; a derivation that has not begun never does."""
        job = self._under_way.pop(key, None)
        if job is not None:
            self.workers.abandon(job)

    def finish(self, wanted: t.Sequence[Question]) -> None:
        """Derive all of these at the same time. Raises what :func:`.kdf.derive` raises."""
        for key in wanted:
            self.prepare(key)
        for key in wanted:
            job = self._under_way.get(key)
            if job is not None:
                self.workers.wait([job])
                del self._under_way[key]
                job.result()

    def confirm(self, derived: t.Sequence[Question]) -> None:
        """Derive these again and compare. Raises Refused if a key differs, and what :func:`.kdf.derive` raises."""
        jobs = [self._submit(lambda key=key: self._evaluate(key), key) for key in dict.fromkeys(derived)]  # type: ignore[misc]
        for key, job in zip(dict.fromkeys(derived), jobs):
            self.workers.wait([job])
            again = job.result().key
            same = hmac.compare_digest(again, self._derived[key].key)
            wipe(again)
            if not same:
                raise Refused(
                    "two derivations of the same key gave different results",
                    why="the memory or the processor of this host is faulty, and a new keyslot might never open",
                    remedy="repair the host first",
                )

    def time(self, parameters: Kdf, length: int) -> Measurement:
        """How long a derivation of this type takes on this host, measured once and kept in ``timed``.

        For the costs of new keyslots where the volume key is known without a derivation. Raises what
        :func:`.kdf.derive` raises.
        """
        if parameters.type not in self.timed:
            job = self._submit(lambda: self._timed(parameters, length), (-1, parameters, length))
            self.workers.wait([job])
            self.timed[parameters.type] = job.result()
        return self.timed[parameters.type]

    def _timed(self, parameters: Kdf, length: int) -> Measurement:
        with self._lock:
            self.evaluations += 1
        started = time.monotonic()
        wipe(kdf.derive(parameters, b"the time of this derivation is measured", length, budget=self.budget))
        return Measurement(parameters, length, kdf.usual_seconds(parameters, length, time.monotonic() - started))

    def start(
        self,
        secret: int,
        parameters: Kdf,
        length: int,
        then: t.Callable[[Derived], T],
        discard: t.Optional[t.Callable[[T], None]] = None,
        *,
        early: bool = False,
    ) -> Job[T]:
        """A job whose result is ``then`` of the derived key, called in the thread that derived it.

        :meth:`.Job.result` raises what :func:`.kdf.derive` and ``then`` raise.
        """
        key = (secret, parameters, length)
        return self._submit(lambda: then(self._obtain(key)), key, discard, early=early)

    def _submit(
        self,
        work: t.Callable[[], T],
        key: Question,
        discard: t.Optional[t.Callable[[T], None]] = None,
        *,
        early: bool = False,
    ) -> Job[T]:
        known = key in self._derived
        job = Job(
            work,
            lanes=1 if known else kdf.lanes(key[1]),
            memory=0 if known else kdf.memory(key[1]),
            rank=2 * self._rank + early,
            discard=discard,
        )
        self.workers.submit(job)
        return job

    def _obtain(self, key: Question) -> Derived:
        with self._lock:
            if key in self._derived:
                return self._derived[key]
        derived = self._evaluate(key)
        with self._lock:
            if self._closed:
                wipe(derived.key)
            self._derived[key] = derived
        return derived

    def _evaluate(self, key: Question) -> Derived:
        secret, parameters, length = key
        with self._lock:
            self.evaluations += 1
        started = time.monotonic()
        derived = kdf.derive(parameters, self.secrets[secret].value, length, budget=self.budget)
        seconds = kdf.usual_seconds(parameters, length, time.monotonic() - started)
        return Derived(derived, Measurement(parameters, length, seconds))

    def replace(self, secret: int, by: HoldsBytes) -> None:
        """Secret number ``secret`` is what ``by`` holds from now on, which :meth:`close` wipes."""
        self._owned.append(by)
        self.secrets[secret] = by
        with self._lock:
            for key in [key for key in self._derived if key[0] == secret]:
                wipe(self._derived.pop(key).key)

    def same_input(self, one: int, other: int, parameters: Kdf) -> bool:
        """Whether both secrets derive the same key: HMAC pads a short key with zeros and hashes a long one.

        Raises Unsupported if this host lacks the hash.
        """
        left, right = self._effective(one, parameters), self._effective(other, parameters)
        try:
            return hmac.compare_digest(left, right)
        finally:
            wipe(left)
            wipe(right)

    def _effective(self, secret: int, parameters: Kdf) -> bytearray:
        value = self.secrets[secret].value
        if not isinstance(parameters, Pbkdf2):
            return bytearray(value)
        digest = kdf.new_hash(parameters.hash)
        padded = bytearray(digest.block_size)
        if len(value) > digest.block_size:
            digest.update(value)
            padded[: digest.digest_size] = digest.digest()
        else:
            padded[: len(value)] = value
        return padded

    def close(self) -> None:
        """Wipe every derived key; one that is still being derived is wiped as soon as it is done."""
        with self._lock:
            self._closed = True
            for derived in self._derived.values():
                wipe(derived.key)
        for owned in self._owned:
            wipe(owned.value)
        for job in self._under_way.values():
            self.workers.abandon(job)
        self._under_way.clear()
