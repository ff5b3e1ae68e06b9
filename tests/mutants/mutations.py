# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways in which a source file of ours is broken on purpose, one at a time.

A refusal that never refuses, a refusal that looks at one of its reasons less, a comparison of secrets or of bytes read
back that is always content, a call made for its effect (a lock, a barrier, a wipe) that is left out.
"""

from __future__ import annotations

import ast
import dataclasses
import typing as t

REFUSAL, REASON, EQUAL, CALL = "never refused", "reason not looked at", "always equal", "call left out"
KINDS = (REFUSAL, EQUAL, CALL, REASON)

# They fill what the function returns.
_BUILDERS = ("append", "extend", "add", "update", "setdefault", "insert", "sort")


@dataclasses.dataclass(frozen=True)
class Mutation:
    """``source`` with the characters from ``begin`` to ``end`` replaced by ``instead``. All lines stay where they are.

    From ``line``, where the statement begins, to ``last`` there is a line that runs if the statement does.
    """

    kind: str
    line: int
    last: int
    begin: int
    end: int
    instead: str
    was: str

    def applied(self, source: str) -> str:
        taken_out = source[self.begin : self.end].count("\n")
        return source[: self.begin] + self.instead + "\\\n" * taken_out + source[self.end :]


class _Finder(ast.NodeVisitor):
    def __init__(self, source: str) -> None:
        self._lines = [0]
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._source = source
        self._statement = 0
        self.found: t.List[Mutation] = []

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.stmt):
            self._statement = node.lineno
        super().visit(node)

    def _add(self, kind: str, node: t.Union[ast.expr, ast.stmt], instead: str) -> None:
        assert node.end_lineno is not None and node.end_col_offset is not None
        # Columns of ast are bytes of UTF-8: the same as characters, as there is only ASCII before and in what is
        # replaced.
        begin = self._lines[node.lineno - 1] + node.col_offset
        end = self._lines[node.end_lineno - 1] + node.end_col_offset
        was = self._source[begin:end]
        assert was.isascii(), was
        self.found.append(Mutation(kind, self._statement, node.end_lineno, begin, end, instead, " ".join(was.split())))

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.body[-1], ast.Raise):
            self._add(REFUSAL, node.test, "False")
            if isinstance(node.test, ast.BoolOp):
                for reason in node.test.values:
                    self._add(REASON, reason, str(isinstance(node.test.op, ast.And)))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if ast.unparse(node.func) == "hmac.compare_digest":
            self._add(EQUAL, node, "True")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            name = ast.unparse(node.value.func)
            if name.rpartition(".")[2] not in _BUILDERS and not name.startswith("super()"):
                self._add(CALL, node, "None")
        self.generic_visit(node)


def mutations(source: str) -> t.List[Mutation]:
    """All of them, in the order of their places."""
    finder = _Finder(source)
    finder.visit(ast.parse(source))
    return sorted(finder.found, key=lambda mutation: (mutation.begin, -mutation.end))
