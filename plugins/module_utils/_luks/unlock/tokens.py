# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Secrets that tokens yield: a binding is asked when the plan first needs it, and its secret is proven as any other."""

from __future__ import annotations

import hmac
import typing as t

from ..errors import LuksmithError, Refused, shown
from ..header.foreign_tokens import CLEVIS, SEALING, TPM2, UNATTENDED, Decoded, asks_for_pin, decode
from ..header.model import Header, Token
from ..header.reading import Read
from ..task.secrets import TokenRequest
from ..task.volume_keys import AUTO

if t.TYPE_CHECKING:  # each format is imported by what parses a header of it
    from ..header.luks1.codec import Luks1Header
    from ..header.luks2.codec import Luks2Header

_FIRST = "it was not asked: {!r} is the first token that opens a keyslot, which was token {}; name it by its number"

_COUNTED = (
    "the given PIN was tried and yielded nothing. If it is wrong, the TPM counts each try, of check mode, too, and"
    " locks itself after a few, for all keys that it guards so"
)
_CHANGED = (
    "To change a PIN without a try of the new one on the old binding, remove that first, by a task of its own:"
    " state: absent, binding: {type: systemd-tpm2}"
)


class Yielded(t.NamedTuple):
    """``keyslots``: those that the secret opens, by derivation. ``failures``: why tokens yielded none, in words, each
    with the number of its token, or None if there was no token to ask.

    stale: numbers of tokens that yielded a secret which opens none of their keyslots. silent: number -> why a token
    yielded none.
    """

    keyslots: t.Tuple[int, ...] = ()
    token: t.Optional[Token] = None
    failures: t.Tuple[t.Tuple[t.Optional[int], str], ...] = ()
    stale: t.Tuple[int, ...] = ()
    silent: t.Tuple[t.Tuple[int, str], ...] = ()


def ask(
    header: Header,
    read: Read,
    request: TokenRequest,
    proven: t.Callable[[bytearray, Token], t.Tuple[int, ...]],
    refused_pins: t.List[t.Tuple[t.Any, bytearray, LuksmithError]],
) -> Yielded:
    """The first token that ``request`` means whose secret opens a keyslot of it.

    proven: takes the secret, which it wipes, and tries it on the keyslots of the token. refused_pins: those that this
    run has tried, with their tokens; it grows.
    """
    failures: t.List[t.Tuple[t.Optional[int], str]] = []
    stale: t.List[int] = []
    silent: t.List[t.Tuple[int, str]] = []
    found = wanted(header, request)
    asking = [token.number for token in found if asks_for_pin(token.type, members_of(header, token))]
    for position, token in enumerate(found):
        name = f"token {token.number} ({shown(token.type, 40)})"
        tried = False
        try:
            pin = pin_for(token, request, asking)
            members = members_of(header, token)
            for known, other, error in refused_pins:
                if pin and known == members and hmac.compare_digest(other, pin):
                    raise error
            tried = bool(pin)
            opened = proven(_secret_of(header, read, token, pin, request.device), token)
        except LuksmithError as error:
            said = error.clauses()
            silent.append((token.number, said))
            failures.append((token.number, f"{name}: {said}"))
            if tried:
                refused_pins.append((members, pin, error))
            from .child import is_of_a_locked_tpm  # failures are rare

            if tried and token.type == TPM2 and not is_of_a_locked_tpm(error):
                counted = f"{name}: {_COUNTED}" + (f". {_CHANGED}" if request.binding is not None else "")
                failures.append((token.number, counted))
            continue
        if opened:
            rest = [(other.number, _FIRST.format(request.name, token.number)) for other in found[position + 1 :]]
            return Yielded(opened, token, tuple(failures), tuple(stale), (*silent, *rest))
        stale.append(token.number)
        stale_binding = f"{name} yields a secret that opens none of its keyslots: the binding is stale"
        failures.append((token.number, stale_binding))
    if not found and request.binding is None:
        failures.append((None, f"the header has no token that {request.name!r} could mean"))
    return Yielded(failures=tuple(failures), stale=tuple(stale), silent=tuple(silent))


def wanted(header: Header, request: TokenRequest) -> t.List[Token]:
    name, tokens = request.name, [token for token in header.tokens if not token.ours]
    if request.binding is not None:
        from .bindings import fits

        return [token for token in tokens if fits(request.binding, decoded(header, token))]
    if name.isdigit():
        return [token for token in tokens if token.number == int(name)]
    return [token for token in tokens if token.type == name or (name == AUTO and token.type in UNATTENDED)]


def decoded(header: Header, token: Token) -> Decoded:
    """The token with what it asks for; of LUKS1 only its type."""
    members = members_of(header, token)
    found = decode(token.number, token.type, token.keyslots, members)
    return found if members else Decoded(token.number, token.type, token.keyslots)


def members_of(header: Header, token: Token) -> t.Mapping[str, t.Any]:
    """The members of a token of LUKS2; none with LUKS1."""
    if header.format != "luks2":
        return {}
    metadata = t.cast("Luks2Header", header).metadata
    return t.cast(t.Mapping[str, t.Any], metadata["tokens"][str(token.number)])


def pin_for(token: Token, request: TokenRequest, asking: t.Sequence[int]) -> bytearray:
    """The PIN for a token that asks for one, else nothing. Raises Refused rather than risk a lockout."""
    if token.number not in asking:
        return bytearray()
    if not request.pin:
        raise Refused("it asks for a PIN, and none was given", remedy="give it as pin")
    if len(asking) > 1:
        raise Refused(
            f"tokens {', '.join(map(str, asking))} ask for a PIN, and one was given",
            why="a wrong one counts as an attack",
            remedy="name the token by its number",
        )
    return request.pin


def _secret_of(header: Header, read: Read, token: Token, pin: bytearray, device: str) -> bytearray:
    if token.type not in SEALING:
        raise Refused("this collection cannot ask a token of this type", remedy=f"it can ask {', '.join(SEALING)}")
    if token.type != CLEVIS:
        from . import token_plugin

        if header.format != "luks2":
            raise Refused("LUKS1 has no such tokens")
        return token_plugin.passphrase(t.cast("Luks2Header", header), token.number, token.type, pin, device)
    from .clevis import compact, passphrase

    if header.format == "luks2":
        return passphrase(compact(members_of(header, token).get("jwe")))
    return passphrase(t.cast("Luks1Header", header).luksmeta_content(read, token.number))
