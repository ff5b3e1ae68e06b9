# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Whether a token is the binding that an entry wants. It is no proof that the token yields anything."""

from __future__ import annotations

import json
import re
import typing as t

from ..header.foreign_tokens import TPM2, Decoded, Pin
from ..task.desired import Binding

# Words of systemd and of the TPM's library where the PCRs are others than those of the policy.
_OTHER_PCRS = re.compile(r"policy digest does not match|policy check failed", re.IGNORECASE)


def of_other_pcrs(why: str) -> bool:
    """Whether ``why``, for which a token yields no secret, says that the machine is in another state."""
    return bool(_OTHER_PCRS.search(why))


def of_kind(binding: Binding, token: Decoded) -> bool:
    """Whether the token is a binding of the same kind, which an entry with ``binding`` keeps or replaces."""
    if token.type != binding.type:
        return False
    return token.type == TPM2 or not binding.pin or (token.pin is not None and token.pin.name == binding.pin)


def fits(binding: Binding, token: Decoded) -> bool:
    """Whether the token has all that ``binding`` says."""
    if token.problem or not of_kind(binding, token):
        return False
    if token.type == TPM2:
        return binding.pcrs is None or (token.pcrs == binding.pcrs and token.asks_for_pin == binding.with_pin)
    return not binding.config or (token.pin is not None and _fits(json.loads(binding.config), token.pin))


def _fits(config: t.Mapping[str, t.Any], pin: Pin) -> bool:
    """Whether the pin was made with ``config``, as far as it tells."""
    pins = config.get("pins")
    if pin.threshold or isinstance(pins, dict):
        return pin.threshold == config.get("t") and _all_fit(_inside(pins), list(pin.inside))
    thumbprint, bank = config.get("thp"), config.get("pcr_bank")
    return (
        str(config.get("url", "")).rstrip("/") == pin.url.rstrip("/")
        and _pcrs(config.get("pcr_ids")) == _pcrs(pin.pcrs)
        and (bank is None or bank == pin.bank)
        and (thumbprint is None or thumbprint in pin.keys)
    )


def _inside(pins: t.Any) -> t.List[t.Tuple[str, t.Any]]:
    """Each pin of a config of sss by its name: one name has one config or a list of them."""
    found = []
    for name, configs in pins.items() if isinstance(pins, dict) else ():
        found += [(name, config) for config in (configs if isinstance(configs, list) else [configs])]
    return found


def _all_fit(wanted: t.Sequence[t.Tuple[str, t.Any]], left: t.List[Pin]) -> bool:
    for name, config in wanted:
        found = next(
            (pin for pin in left if pin.name == name and isinstance(config, dict) and _fits(config, pin)), None
        )
        if found is None:
            return False
        left.remove(found)
    return not left


def _pcrs(given: t.Any) -> t.List[str]:
    parts = given if isinstance(given, list) else str(given or "").split(",")
    return sorted(str(part).strip() for part in parts if str(part).strip())
