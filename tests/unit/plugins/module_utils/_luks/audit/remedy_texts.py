# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every remedy that the rules can print, read from their source, with "{}" for what only a volume can say.

A remedy that depends on the volume (:mod:`remedies`) appears as the name of its function: each of its texts is listed
once under that name instead of once for each rule.
"""

from __future__ import annotations

import ast
import functools
import itertools
import pathlib
import re
import types
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import (
    policy,
    policy_gaps,
    remedies,
    rules,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import obstacles
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import fleet_rules

# Those that no function of a rule prints: about the policy, about headers that cannot be read, and about a fleet.
ELSEWHERE = (
    ("policy-accepted", "Review it with the policy"),
    ("header-unreadable", "{}"),
    (
        "cve-2020-14382",
        "Do not attach this device to a host with cryptsetup before 2.3.4; find out who wrote the header",
    ),
    ("clone", fleet_rules._ANEW),
    ("clone", fleet_rules._OWN_UUID),
    ("secret-shared", "Rotate with the role rotate, which gives each volume a secret of its own"),
)
Texts = t.List[str]


class _File:
    """The texts of one source file."""

    def __init__(self, module: t.Any, shared: t.Mapping[str, ast.FunctionDef]) -> None:
        self.tree = ast.parse(pathlib.Path(module.__file__).read_text())
        self._module = module
        self.functions = {node.name: node for node in self.tree.body if isinstance(node, ast.FunctionDef)}
        self._shared = shared
        self._values = dict(_assigned(self.tree.body))

    def of(self, node: ast.expr, local: t.Mapping[str, t.List[ast.expr]]) -> Texts:
        if isinstance(node, ast.Constant):
            return [str(node.value)]
        if isinstance(node, ast.JoinedStr):
            return self._product([self.of(part, local) for part in node.values])
        if isinstance(node, ast.FormattedValue):
            return self.of(node.value, local) if isinstance(node.value, (ast.Name, ast.Call)) else ["{}"]
        if isinstance(node, ast.BinOp):
            return self._product([self.of(node.left, local), self.of(node.right, local)])
        if isinstance(node, ast.IfExp):
            return self.of(node.body, local) + self.of(node.orelse, local)
        if isinstance(node, ast.BoolOp):
            return [text for value in node.values for text in self.of(value, local)]
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            values = t.cast(ast.Dict, self._values[node.value.id]).values
            return [text for value in values for text in self.of(value, local)]
        if isinstance(node, ast.Name):
            known = [*local.get(node.id, ()), *([self._values[node.id]] if node.id in self._values else [])]
            imported = getattr(self._module, node.id, None)
            found = [text for value in known for text in self.of(value, local)]
            return found or [imported if isinstance(imported, str) else "{}"]
        if isinstance(node, ast.Call):
            return self._of_call(node, local)
        return ["{}"]

    def _of_call(self, node: ast.Call, local: t.Mapping[str, t.List[ast.expr]]) -> Texts:
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("format", "replace"):
            return [re.sub(r"\{\w+\}", "{}", text) for text in self.of(node.func.value, local)]
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in self._shared:
            return [f"<{name}>"]
        return self.returned(name) if name in self.functions else ["{}"]

    def returned(self, name: str) -> Texts:
        """All texts of the function."""
        function = self.functions[name]
        local = _in(function)
        values = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value]
        return [text for value in values for text in self.of(value, local)]

    @staticmethod
    def _product(parts: t.Sequence[Texts]) -> Texts:
        return ["".join(chosen) for chosen in itertools.product(*parts)]


def _assigned(body: t.Iterable[ast.AST]) -> t.Iterator[t.Tuple[str, ast.expr]]:
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value


def _in(function: ast.FunctionDef) -> t.Dict[str, t.List[ast.expr]]:
    found: t.Dict[str, t.List[ast.expr]] = {}
    for name, value in _assigned(ast.walk(function)):
        found.setdefault(name, []).append(value)
    return found


def _rule(function: ast.FunctionDef) -> str:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "RULES.rule":
            return str(t.cast(ast.Constant, decorator.args[0]).value)
    return ""


def _remedies(file: _File, function: ast.FunctionDef, given: t.Optional[t.Dict[str, Texts]] = None) -> Texts:
    """``given``: the texts of its arguments."""
    local, found = _in(function), []
    for name, texts in (given or {}).items():
        local[name] = [ast.Constant(text) for text in texts]
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "Hit":
                found += file.of(node.args[1], local)
            elif node.func.id in file.functions and not _rule(file.functions[node.func.id]):
                called = file.functions[node.func.id]
                arguments = {
                    name.arg: file.of(value, local)
                    for name, value in zip(called.args.args, node.args)
                    if name.arg == "remedy"
                }
                found += _remedies(file, called, arguments)
    return found


def _last_arguments(module: t.Any, *names: str) -> Texts:
    """The remedies in calls of these functions, as their second or last argument, or by name."""
    file = _File(module, {})
    found = []
    for function in file.functions.values():
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                by_name = [keyword.value for keyword in node.keywords if keyword.arg == "remedy"]
                given = by_name or node.args[1 if node.func.id == "Gap" else 2 :][:1]
                found += [text for one in given for text in file.of(one, _in(function))]
    return found


@functools.lru_cache(maxsize=None)
def printed(dispatch: bool = False) -> t.FrozenSet[t.Tuple[str, str]]:
    """(rule, text), and (function of :mod:`remedies`, text).

    dispatch: also for the functions that call only another one.
    """
    public = {
        name: node
        for name, node in _File(remedies, {}).functions.items()
        if not name.startswith("_") and name != "made_by_qemu"
    }
    shared = _File(remedies, public)
    found = {
        (name, text)
        for name, node in public.items()
        for text in shared.returned(name)
        if text and (dispatch or not re.fullmatch(r"<\w+>", text))
    }
    for module in rules.FILES:
        file = _File(module, public)
        for function in file.functions.values():
            if _rule(function):
                found.update((_rule(function), text) for text in _remedies(file, function) if text)
    found.update((policy.GAP, text) for text in _last_arguments(policy_gaps, "Gap"))
    found.update(("write-obstacle", text) for text in _last_arguments(obstacles, "_refused", "Refused"))
    assert f'"{ELSEWHERE[-1][1]}"' in pathlib.Path(fleet_rules.__file__).read_text()
    found.update(ELSEWHERE)
    return frozenset(found - {("write-obstacle", "{}"), (policy.GAP, "{}")})


def covers(text: str, printed_text: str) -> bool:
    """Whether ``text``, of which a test says that it carries it out, is the beginning of this one."""
    return text == printed_text or (text != "{}" and _begins(text, printed_text))


def _begins(text: str, with_this: str) -> bool:
    return re.match(".*".join(map(re.escape, text.split("{}"))), with_this) is not None


def matches(text: str, remedy: str) -> bool:
    """Whether the remedy that was printed begins with ``text``."""
    found = re.search(r"<(\w+)>", text)
    if found:
        texts = [one for function, one in printed(dispatch=True) if function == found[1]]
        if found[1] == "but_first" and text[: found.start()] != "{}":
            texts.append("")  # there is not always something that must come first
        return any(matches(text[: found.start()] + one + text[found.end() :], remedy) for one in texts)
    return _begins(text, remedy)


Row = t.Tuple[str, str]
_audits: t.List[t.Dict[str, t.Any]] = []


def noted(findings: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    """The findings of an audit by their rules, which :func:`carries` looks through."""
    _audits.append(findings)
    return findings


def carries(*rows: Row) -> t.Callable[[t.Callable[..., None]], t.Callable[..., None]]:
    """A test that carries these remedies out; one with parameters does one of them each time.

    Its audits must have printed the remedy first, and have been without the finding later.
    """

    def marked(test: t.Callable[..., None]) -> t.Callable[..., None]:
        @functools.wraps(test)
        def checked(*arguments: t.Any, **options: t.Any) -> None:
            _audits.clear()
            test(*arguments, **options)
            done = [row for row in rows if _carried_out(row)]
            marks = getattr(checked, "pytestmark", ())
            several = any(mark.name == "parametrize" for mark in marks)
            assert done if several else set(done) == set(rows), set(rows) - set(done)

        CARRIED.update(rows)
        return checked

    return marked


CARRIED: t.Set[Row] = set()


def _carried_out(row: Row) -> bool:
    name, text = row
    for position, audit in enumerate(_audits):
        for rule, finding in audit.items():
            begin = "{}" if name in FUNCTIONS else ""
            if name in (rule, *FUNCTIONS) and matches(begin + text, finding["remedy"]):
                return any(rule not in later for later in _audits[position + 1 :])
    return False


FUNCTIONS = [name for name, value in vars(remedies).items() if isinstance(value, types.FunctionType)]
