# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Secrets that tokens yield: a binding is asked when the plan first needs it, and its secret is proven as any other."""

from __future__ import annotations

import typing as t

from ..errors import LuksmithError, Refused, shown
from ..header.luks1.codec import Luks1Header
from ..header.luks2.codec import Luks2Header
from ..header.model import Header, Token
from ..header.reading import Read

AUTO = "auto"
USABLE = ("clevis",)


class Yielded(t.NamedTuple):
    """``keyslots``: those that the secret opens, by derivation. ``failures``: why tokens yielded none, in words."""

    keyslots: t.Tuple[int, ...] = ()
    token: t.Optional[Token] = None
    failures: t.Tuple[str, ...] = ()


def ask(header: Header, read: Read, request: str, proven: t.Callable[[bytearray, Token], t.Tuple[int, ...]]) -> Yielded:
    """The first token that ``request`` means (``auto``, a type or a number) whose secret opens a keyslot of it.

    proven: takes the secret, which it wipes, and tries it on the keyslots of the token.
    """
    failures = []
    for token in wanted(header, request):
        name = f"token {token.number} ({shown(token.type, 40)})"
        try:
            opened = proven(_secret_of(header, read, token), token)
        except LuksmithError as error:
            failures.append(f"{name}: {error.found}" + (f"; {error.remedy}" if error.remedy else ""))
            continue
        if opened:
            return Yielded(opened, token, tuple(failures))
        failures.append(f"{name} yields a secret that opens none of its keyslots: the binding is stale")
    return Yielded(failures=tuple(failures) or (f"the header has no token that {request!r} could mean",))


def wanted(header: Header, request: str) -> t.List[Token]:
    tokens = [token for token in header.tokens if not token.ours]
    if request.isdigit():
        return [token for token in tokens if token.number == int(request)]
    return [token for token in tokens if token.type == request or (request == AUTO and token.type in USABLE)]


def _secret_of(header: Header, read: Read, token: Token) -> bytearray:
    if token.type not in USABLE:
        raise Refused("this collection cannot ask a token of this type", remedy=f"it can ask {', '.join(USABLE)}")
    from .clevis import compact, passphrase

    if isinstance(header, Luks2Header):
        return passphrase(compact(header.metadata["tokens"][str(token.number)].get("jwe")))
    return passphrase(header.luksmeta_content(read, token.number) if isinstance(header, Luks1Header) else b"")
