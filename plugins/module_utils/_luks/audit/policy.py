# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""A policy: the requirements of an audit, as data. Parsed strictly: a misspelled key would require nothing."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t
import unicodedata

from ..errors import BadTask
from .ready_policies import READY

SEVERITIES = ("critical", "high", "medium", "low", "info")  # worst first
INFO = "info"  # breaks no policy
OFF = "off"
FORMATS = ("luks1", "luks2")
KDF_TYPES = ("argon2id", "argon2i", "pbkdf2")
OTHER = "other"  # every PBKDF2 hash without its own minimum

# Their findings are about the policy, so that no policy may switch them off.
OF_THE_POLICY = (GAP, ACCEPTED) = ("policy-gap", "policy-accepted")

_LARGEST = 2**32 - 1
_COSTS = ("time", "memory")
# What people take for a letter in the names of ready policies: Cyrillic and Greek letters, digits and signs.
_LIKE = {
    "a": "\u0430\u03b1@4",
    "c": "\u0441\u03f2",
    "e": "\u0435\u03b53",
    "f": "\u03dd",
    "g": "\u050d9",
    "l": "i1|\u0131\u0456\u03b9\u04cf",
    "o": "0\u043e\u03bf",
    "p": "\u0440\u03c1",
    "r": "\u0433",
    "s": "5$\u0455",
    "t": "\u0442\u03c4",
    "w": "\u0461\u051d\u03c9",
    "y": "\u0443\u03c5",
}
_ALIKE = {ord(other): letter for letter, others in _LIKE.items() for other in others}
_EXPECTED = ("uuid", "label", "subsystem", "fingerprint")


@dataclasses.dataclass(frozen=True)
class Policy:
    """The requirements; None or empty: no requirement. The documentation of the module explains the keys.

    minimum_key_size, minimum_keyslot_key_size: bytes. pbkdf2_costs: hash -> iterations. argon2_costs: pairs of passes
    and KiB, any of which suffices. token_costs: type of token -> iterations that suffice for the random key behind it.
    rules: rule -> severity or "off". expected: the values of an inventory. accepted: rule -> why the policy does
    without it. recovery_labels: secrets for an emergency, one of which must open the volume. renewed_since: name of an
    exposure -> the day (ISO) before which no secret may have been set. extends: the ready policy. own_costs: what has a
    cost in the policy itself.
    """

    name: str
    formats: t.Tuple[str, ...] = ()
    ciphers: t.Tuple[str, ...] = ()
    keyslot_ciphers: t.Tuple[str, ...] = ()
    minimum_key_size: int = 0
    minimum_keyslot_key_size: int = 0
    kdf_types: t.Tuple[str, ...] = ()
    kdf_hashes: t.Tuple[str, ...] = ()
    pbkdf2_costs: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    argon2_costs: t.Tuple[t.Tuple[int, int], ...] = ()
    token_costs: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    minimum_digest_iterations: int = 0
    required_labels: t.Tuple[str, ...] = ()
    allowed_labels: t.Tuple[str, ...] = ()
    token_types: t.Optional[t.Tuple[str, ...]] = None
    retired_tang_keys: t.Tuple[str, ...] = ()
    maximum_age_days: t.Optional[int] = None
    try_empty_secret: bool = False
    require_backup: bool = False
    recovery_labels: t.Tuple[str, ...] = ()
    opened_by_grub: bool = False
    shared_labels: t.Tuple[str, ...] = ()
    renewed_since: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    expected: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    rules: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    accepted: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    extends: str = ""
    own_costs: t.FrozenSet[str] = frozenset()


def parse(value: t.Any, known_rules: t.Collection[str]) -> Policy:
    """The policy that ``value`` names or describes. Raises BadTask, which names the key, if it is not valid."""
    if isinstance(value, str):
        return parse({"extends": value}, known_rules)
    if not isinstance(value, t.Mapping):
        raise BadTask(
            "policy is neither a name nor a dictionary",
            remedy=f"Name a ready policy ({_list(READY)}), or write one as a dictionary",
        )
    own = {key: item for key, item in value.items() if item is not None}
    name, base = _ready(own)
    unknown = [key for key in own if key not in _READERS]
    if unknown:
        raise BadTask(
            f"policy: there is no key {unknown[0]!r}",
            why="An unknown key would require nothing, and the audit would look better than it is",
            remedy=f"The keys are {_list(KEYS)}",
        )
    fields: t.Dict[str, t.Any] = {}
    for source in (base, own):
        for key, item in source.items():
            for field, parsed in _READERS[key](item, f"policy.{key}").items():
                fields[field] = {**fields.get(field, {}), **parsed} if field in _MERGED else parsed
    for key in ("rules", "accepted"):
        _check_rules(key, fields.get(key, {}), known_rules)
    own_costs = frozenset(_named(own.get("minimum_costs", {})))
    return Policy(name=fields.pop("name", "custom"), extends=name, own_costs=own_costs, **fields)


def _ready(own: t.Dict[str, t.Any]) -> t.Tuple[str, t.Mapping[str, t.Any]]:
    """The ready policy that ``own``, from which it is removed, extends; no name and no requirement if it does not."""
    name = own.pop("extends", "")
    if name != "":
        if not isinstance(name, str) or name not in READY:
            raise BadTask(f"policy: there is no ready policy {name!r}", remedy=f"The ready ones are {_list(READY)}")
        own.setdefault("name", name)
    looks_like = _looks_like(own.get("name"))
    if looks_like and own["name"] != name:
        raise BadTask(
            f"policy.name is {own['name']!r}, which is or looks like {looks_like!r}, a ready policy that this one "
            f"{'changes' if looks_like == name else 'does not extend'}",
            why="A report under this name would say what was not checked",
            remedy="Give it a name of its own",
        )
    return name, READY[name] if name else {}


def _looks_like(name: t.Any) -> str:
    """The ready policy that people would take ``name`` for, or ""."""
    return next((ready for ready in READY if isinstance(name, str) and _folded(name) == _folded(ready)), "")


def _folded(name: str) -> str:
    """Without case, width, accents, spaces and punctuation, and with one letter for those that look alike."""
    plain = unicodedata.normalize("NFKD", name).casefold().translate(_ALIKE)
    return "".join(character for character in plain if character.isalnum())


def _check_rules(key: str, rules: t.Iterable[str], known_rules: t.Collection[str]) -> None:
    for rule in rules:
        if rule not in known_rules:
            raise BadTask(
                f"policy.{key}: there is no rule {rule!r}",
                remedy="docs/audit.md lists the rules; findings also name them",
            )
        if rule in OF_THE_POLICY:
            raise BadTask(
                f"policy.{key}.{rule}: this rule is about the policy itself, which cannot change it",
                remedy="Name the cost of what the policy allows, or say in accepted why another rule may be broken",
            )


def worst(severities: t.Iterable[str]) -> t.Optional[str]:
    """The most severe of these, or None."""
    found = set(severities)
    return next((severity for severity in SEVERITIES if severity in found), None)


PolicyFields = t.Dict[str, t.Any]


def _list(names: t.Iterable[str]) -> str:
    return ", ".join(names)


def _text(value: t.Any, where: str) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise BadTask(f"{where} is {_shown(value)}, not a line of text", remedy="Write it as text in quotes")
    return value


def _name(value: t.Any, where: str) -> PolicyFields:
    return {"name": _text(value, where)}


def _ignored(value: t.Any, where: str) -> PolicyFields:
    _text(value, where)
    return {}


def _texts(field: str, choices: t.Sequence[str] = ()) -> t.Callable[[t.Any, str], PolicyFields]:
    def read(value: t.Any, where: str) -> PolicyFields:
        if not isinstance(value, (list, tuple)):
            raise BadTask(
                f"{where} is {_shown(value)}, not a list",
                remedy=f"Write a list, such as [{(choices or ('one',))[0]}]; leave the key out to require nothing",
            )
        for index, item in enumerate(value):
            _text(item, f"{where}[{index}]")
            if choices and item not in choices:
                raise BadTask(f"{where}[{index}] is {item!r}", remedy=f"Use one of {_list(choices)}")
        return {field: tuple(value)}

    return read


def _number(field: str, unit: str, least: int = 1) -> t.Callable[[t.Any, str], PolicyFields]:
    return lambda value, where: {field: _whole(value, where, unit, least)}


def _whole(value: t.Any, where: str, unit: str, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _LARGEST:
        raise BadTask(
            f"{where} is {_shown(value)}",
            why=f"It counts {unit}",
            remedy=f"Give a whole number from {least} to {_LARGEST}",
        )
    return value


def _flag(field: str) -> t.Callable[[t.Any, str], PolicyFields]:
    def read(value: t.Any, where: str) -> PolicyFields:
        if not isinstance(value, bool):
            raise BadTask(f"{where} is {_shown(value)}", remedy="Give true or false")
        return {field: value}

    return read


def _mapping(value: t.Any, where: str, keys: t.Sequence[str] = ()) -> t.Mapping[str, t.Any]:
    if not isinstance(value, t.Mapping):
        raise BadTask(
            f"{where} is {_shown(value)}, not a dictionary",
            remedy=f"Its keys are {_list(keys)}" if keys else "Write pairs of a name and a value",
        )
    for key in value:
        if not isinstance(key, str) or (keys and key not in keys):
            raise BadTask(
                f"{where}: there is no key {key!r}",
                remedy=f"Its keys are {_list(keys)}" if keys else "Use names as keys",
            )
    return value


def _named(costs: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    """What ``costs`` names: the keys in it, and the hashes of PBKDF2."""
    yield from costs
    if isinstance(costs.get("pbkdf2"), t.Mapping):
        yield from costs["pbkdf2"]


def _costs(value: t.Any, where: str) -> PolicyFields:
    fields: PolicyFields = {}
    given = _mapping(value, where, ("pbkdf2", "argon2", "tokens"))
    for name, field in (("pbkdf2", "pbkdf2_costs"), ("tokens", "token_costs")):
        if name in given:
            single = name == "pbkdf2" and not isinstance(given[name], t.Mapping)
            pairs = {OTHER: given[name]} if single else given[name]
            fields[field] = {
                key: _whole(item, f"{where}.{name}.{key}", "iterations")
                for key, item in _mapping(pairs, f"{where}.{name}").items()
            }
    if "argon2" in given:
        choices = given["argon2"] if isinstance(given["argon2"], (list, tuple)) else [given["argon2"]]
        fields["argon2_costs"] = tuple(_argon2(item, f"{where}.argon2[{index}]") for index, item in enumerate(choices))
    return fields


def _argon2(value: t.Any, where: str) -> t.Tuple[int, int]:
    given = _mapping(value, where, _COSTS)
    missing = [key for key in _COSTS if key not in given]
    if missing:
        raise BadTask(
            f"{where} has no {missing[0]}",
            remedy="Give time (passes) and memory (KiB) together: one without the other says little",
        )
    return _whole(given["time"], f"{where}.time", "passes"), _whole(given["memory"], f"{where}.memory", "KiB")


def _expected(value: t.Any, where: str) -> PolicyFields:
    given = _mapping(value, where, _EXPECTED)
    for key, item in given.items():
        if not isinstance(item, str):
            raise BadTask(
                f"{where}.{key} is {_shown(item)}, not text",
                remedy="Write it as text in quotes, as an earlier audit returned it",
            )
    return {"expected": dict(given)}


def _rules(value: t.Any, where: str) -> PolicyFields:
    given = _mapping(value, where)
    rules = {}
    for rule, severity in given.items():
        # YAML 1.1 reads a bare off as false.
        word = OFF if severity is False else severity
        if word not in (*SEVERITIES, OFF):
            raise BadTask(
                f"{where}.{rule} is {_shown(severity)}",
                remedy=f"Use one of {_list(SEVERITIES)}, or {OFF} to switch the rule off",
            )
        rules[rule] = word
    return {"rules": rules}


def _accepted(value: t.Any, where: str) -> PolicyFields:
    given = _mapping(value, where)
    return {"accepted": {rule: _text(reason, f"{where}.{rule}") for rule, reason in given.items()}}


def _renewed_since(value: t.Any, where: str) -> PolicyFields:
    """Name of an exposure -> the day on which it was over."""
    days = {}
    for name, day in _mapping(value, where).items():
        text = day.isoformat() if isinstance(day, datetime.date) else day
        try:
            days[name] = datetime.datetime.strptime(text, "%Y-%m-%d").date().isoformat()
        except (TypeError, ValueError):
            raise BadTask(
                f"{where}.{name} is {_shown(day)}, not a day", remedy="Write it as year-month-day, such as 2026-11-28"
            ) from None
    return {"renewed_since": days}


def _shown(value: t.Any) -> str:
    return repr(value) if isinstance(value, (str, int, float)) else f"of type {type(value).__name__}"


_MERGED = ("pbkdf2_costs", "token_costs", "renewed_since", "expected", "rules")
_READERS: t.Dict[str, t.Callable[[t.Any, str], PolicyFields]] = {
    "name": _name,
    "description": _ignored,
    "formats": _texts("formats", FORMATS),
    "ciphers": _texts("ciphers"),
    "keyslot_ciphers": _texts("keyslot_ciphers"),
    "minimum_key_size": _number("minimum_key_size", "bytes"),
    "minimum_keyslot_key_size": _number("minimum_keyslot_key_size", "bytes"),
    "kdf_types": _texts("kdf_types", KDF_TYPES),
    "kdf_hashes": _texts("kdf_hashes"),
    "minimum_costs": _costs,
    "minimum_digest_iterations": _number("minimum_digest_iterations", "iterations"),
    "required_labels": _texts("required_labels"),
    "allowed_labels": _texts("allowed_labels"),
    "token_types": _texts("token_types"),
    "retired_tang_keys": _texts("retired_tang_keys"),
    "maximum_age_days": _number("maximum_age_days", "days", 0),
    "try_empty_secret": _flag("try_empty_secret"),
    "require_backup": _flag("require_backup"),
    "recovery_labels": _texts("recovery_labels"),
    "opened_by_grub": _flag("opened_by_grub"),
    "shared_labels": _texts("shared_labels"),
    "renewed_since": _renewed_since,
    "expected": _expected,
    "rules": _rules,
    "accepted": _accepted,
}
KEYS = ("extends", *_READERS)
