# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules run as processes of their own, at the price of a fork, and stopped at exactly the call that a test names.

A test process has threads (pytest-xdist has, and whoever derived a key), so that it must not fork. Instead it starts
this file once as a program: the server, which has one thread, has imported Ansible and the modules, and forks itself
for each request. A child runs the whole module, from its arguments as JSON to its answer as JSON; nothing that the test
process imported, patched or opened is there. Everything goes through memory: no secret gets on a disk or into a list of
arguments.

    run_module("keyslots_info", {"device": path})            # the result; ModuleFailed when the module failed
    running = start_module("keyslots", task,
    hooks=[stop_before("_luks.apply.header_writer:HeaderWriter._guarded_write")])
    running.reached("_luks.apply.header_writer:HeaderWriter._guarded_write")   # it is there now, and goes no further
    ... running.go_on()                                          # ... until it is told to (or: running.kill())
    running.result()

A hook is a function without arguments that runs in the child before the module does: one of :func:`stop_before`
and :func:`stay_dumpable`, or a test's own. It travels by its name, so it stands at the top of a file
below tests/; ``functools.partial`` gives it arguments. It may patch whatever it likes, and :func:`pause` wherever it
likes.

:func:`start` and :func:`in_a_fork` do the same for any function instead of a module. :func:`fresh_module` starts a new
interpreter, which costs a second of a processor: for strace, and to show that it makes no difference.

A run whose :class:`Running` is forgotten is killed, and so is everything when the test process ends.
"""

from __future__ import annotations

import atexit
import faulthandler
import functools
import gc
import importlib
import io
import itertools
import json
import os
import pathlib
import pickle
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
import types
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections.luksmith.luks"
PATIENCE = 60.0  # seconds for something that takes milliseconds on a machine with nothing else to do
LONG = 300.0  # for a whole run

Arguments = t.Mapping[str, t.Any]
Result = t.Dict[str, t.Any]
Hook = t.Callable[[], object]

# What Ansible tells every module besides the task's arguments.
OF_ANSIBLE = {"_ansible_remote_tmp": "/dev/null/x", "_ansible_keep_remote_files": False}


class ModuleFailed(AssertionError):
    """The module called fail_json; ``result`` is all that it said."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.get("msg"))
        self.result = result


# In the test


class Running:
    """A child of the server. ``pid`` is its own, so that signals and /proc work as for any other process."""

    def __init__(
        self, what: str, control: socket.socket, output: t.BinaryIO, errors: t.BinaryIO, answer: t.BinaryIO
    ) -> None:
        self._what = what
        self._control = control
        self._files = output, errors, answer
        self._left: t.Tuple[bytes, bytes, bytes] = (b"", b"", b"")
        self._status: t.Optional[int] = None
        self.pid = int(self._next("pid", PATIENCE))

    def __del__(self) -> None:
        self._control.close()  # which ends it, if it has not ended
        for file in self._files:
            file.close()

    def reached(self, name: str, timeout: float = PATIENCE) -> None:
        """Returns when it pauses at ``name``; a failure if it ends or pauses elsewhere instead."""
        found = self._next("at", timeout)
        assert found == name, f"{self._what} is at {found}, not at {name}"

    def go_on(self) -> None:
        """From where it pauses."""
        self._control.send(b"go")

    def send_signal(self, number: int) -> None:
        assert self._status is None, f"{self._what} has ended: its pid may be somebody else's"
        os.kill(self.pid, number)

    def kill(self) -> None:
        """By SIGKILL; returns when it is gone. A failure if it had ended by itself."""
        self.send_signal(signal.SIGKILL)
        status = self.wait()
        assert status == -signal.SIGKILL, f"{self._what} ended with {status} before it could be killed"

    def wait(self, timeout: float = LONG) -> int:
        """The exit code once it has ended, or the negative number of the signal that ended it.

        A failure if it pauses.
        """
        if self._status is None:
            self._status = int(self._next("ended", timeout))
            self._left = self._content()
            self.__del__()
        return self._status

    @property
    def said(self) -> t.Tuple[str, str]:
        """Standard output and standard error so far."""
        out, err, _answer = self._content() if self._status is None else self._left
        return out.decode(errors="replace"), err.decode(errors="replace")

    def returned(self, timeout: float = LONG) -> t.Any:
        """What the function returned; a failure with its traceback if it raised."""
        status = self.wait(timeout)
        assert status == 0 and self._left[2], f"{self._what} ended with {status}: {self.said}"
        return pickle.loads(self._left[2])

    def result(self, timeout: float = LONG) -> Result:
        """What the module said; raises ModuleFailed when that is a failure."""
        status = self.wait(timeout)
        out, err = self.said
        return _result(out, f"{self._what} ended with {status}: {err}")

    def _next(self, wanted: str, timeout: float) -> str:
        self._control.settimeout(timeout)
        try:
            kind, _blank, value = self._control.recv(65536).decode().partition(" ")
        except socket.timeout:
            raise AssertionError(f"{self._what}: not {wanted!r} within {timeout:g} s. {self._where()}") from None
        if kind == wanted:
            return value
        raise AssertionError(
            f"{self._what}: {kind} {value}, not {wanted!r}. {self.said}" if kind else "the module server is gone"
        )

    def _where(self) -> str:
        """Where each thread of it is, which faulthandler tells on SIGABRT."""
        os.kill(self.pid, signal.SIGABRT)
        select.select([self._control], [], [], PATIENCE)
        return self.said[1]

    def _content(self) -> t.Tuple[bytes, bytes, bytes]:
        out, err, answer = (os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0) for file in self._files)
        return out, err, answer


def start_module(
    name: str,
    arguments: Arguments,
    *,
    check: bool = False,
    diff: bool = False,
    env: t.Optional[t.Mapping[str, str]] = None,
    hooks: t.Sequence[Hook] = (),
) -> Running:
    """``keyslots`` or another module of the collection, started; ask :meth:`Running.result` for the outcome."""
    return start(be_the_module, name, told(arguments, check=check, diff=diff), hooks, env=env, what=f"module {name}")


def run_module(name: str, arguments: Arguments, **how: t.Any) -> Result:
    """As :func:`start_module`, to the end."""
    return start_module(name, arguments, **how).result()


def in_a_fork(function: t.Callable[..., t.Any], *arguments: t.Any, timeout: float = LONG) -> t.Any:
    """What ``function`` returns in a process of its own, in which the modules are imported."""
    return start(function, *arguments).returned(timeout)


def start(
    function: t.Callable[..., t.Any],
    *arguments: t.Any,
    env: t.Optional[t.Mapping[str, str]] = None,
    what: str = "",
) -> Running:
    """A child of the server that calls ``function``, in this folder and with this environment; ``env`` is added to
    it.
    """
    request = io.BytesIO()
    _Pickler(request).dump((function, arguments, {**os.environ, **(env or {})}, os.getcwd()))
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    files = [open(os.memfd_create(name), "w+b", buffering=0) for name in ("request", "output", "errors", "answer")]  # noqa: SIM115 - Running has them
    files[0].write(request.getvalue())
    with theirs, files[0]:
        socket.send_fds(_server(os.getpid()), [b"fork"], [theirs.fileno(), *(file.fileno() for file in files)])
    return Running(
        what or function.__name__, mine, *t.cast("t.Tuple[t.BinaryIO, t.BinaryIO, t.BinaryIO]", tuple(files[1:]))
    )


def fresh_module(
    name: str, arguments: Arguments, *, check: bool = False, diff: bool = False, under: t.Sequence[str] = ()
) -> Result:
    """The result of a module in a new interpreter; ``under``: a command that runs it, such as strace with its
    options.
    """
    command = [*under, sys.executable, str(pathlib.Path(__file__).resolve()), "--fresh", name]
    done = subprocess.run(
        command, input=told(arguments, check=check, diff=diff), capture_output=True, check=False, timeout=LONG
    )
    return _result(
        done.stdout.decode(errors="replace"),
        f"module {name} ended with {done.returncode}: {done.stderr.decode(errors='replace')}",
    )


def told(arguments: Arguments, *, check: bool = False, diff: bool = False) -> bytes:
    """The arguments of a module as Ansible hands them over."""
    return json.dumps(
        {"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check, "_ansible_diff": diff, **OF_ANSIBLE}}
    ).encode()


def _result(out: str, otherwise: str) -> Result:
    try:
        result = t.cast(Result, json.loads(out))
    except ValueError:
        raise AssertionError(f"no JSON, {otherwise}: {out!r}") from None
    if result.get("failed"):
        raise ModuleFailed(result)
    return result


class _Pickler(pickle.Pickler):
    """Functions and classes of a test file by a name under which the server finds them, whatever pytest calls the
    file.
    """

    def reducer_override(self, thing: t.Any) -> t.Any:
        if not isinstance(thing, (types.FunctionType, type)):
            return NotImplemented
        if "<" in thing.__qualname__:
            raise TypeError(
                f"{thing.__qualname__} of {thing.__module__} is no function at the top of a file, so that another "
                "process cannot find it"
            )
        file = getattr(sys.modules.get(thing.__module__), "__file__", None) or ""
        if not file.startswith(f"{ROOT}{os.sep}tests{os.sep}") or thing is _named:
            return NotImplemented
        return _named, (
            ".".join((COLLECTION, *pathlib.Path(file).relative_to(ROOT).with_suffix("").parts)),
            thing.__qualname__,
        )


def _named(module: str, name: str) -> t.Any:
    return functools.reduce(getattr, name.split("."), t.cast(t.Any, importlib.import_module(module)))


@functools.lru_cache(maxsize=1)
def _server(_pid: int) -> socket.socket:
    """The connection to this process's server, which a fork of this process does not share."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, str(pathlib.Path(__file__).resolve()), "--serve", str(theirs.fileno())]
    with theirs:
        process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def end(mine: socket.socket = mine, owner: int = os.getpid()) -> None:
        mine.close()
        if os.getpid() == owner:
            process.wait(PATIENCE)

    atexit.register(end)
    return mine


# In the child, before the module runs and at its calls

_to_the_test: t.Optional[socket.socket] = None
_one_pause = threading.Lock()


def pause(name: str) -> None:
    """Tell the test that the child is at ``name``, and wait until :meth:`Running.go_on`."""
    assert _to_the_test is not None, "only a child of the module server can pause"
    with _one_pause:
        _to_the_test.send(f"at {name}".encode())
        if _to_the_test.recv(16) != b"go":
            os._exit(1)  # the test is gone


def pause_at(name: str) -> Hook:
    """A hook: before the module runs. Several that wait here can be let go at once."""
    return functools.partial(pause, name)


def stop_before(place: str, number: int = 0) -> Hook:
    """A hook: pause at the call ``number`` (from 0) of ``place``, before it does anything.

    place: module and function as the caller finds it, below plugins/module_utils:
    "_luks.apply.header_writer:HeaderWriter._guarded_write".
    """
    return functools.partial(_stop, place, number)


def _stop(place: str, number: int) -> None:
    calls = itertools.count()

    def stopping(real: t.Callable[..., t.Any], *arguments: t.Any, **options: t.Any) -> t.Any:
        if next(calls) == number:
            pause(place)
        return real(*arguments, **options)

    around(place, stopping)


def around(place: str, wrapper: t.Callable[..., t.Any]) -> None:
    """For hooks: from now on ``wrapper(real, ...)`` is called instead of the function at ``place``, which is
    ``real``.
    """
    module, _colon, path = place.partition(":")
    *parents, name = path.split(".")
    owner = functools.reduce(
        getattr, parents, t.cast(t.Any, importlib.import_module(f"{COLLECTION}.plugins.module_utils.{module}"))
    )
    real = getattr(owner, name)

    @functools.wraps(real)
    def wrapped(*arguments: t.Any, **options: t.Any) -> t.Any:
        return wrapper(real, *arguments, **options)

    setattr(owner, name, wrapped)


def stay_dumpable() -> None:
    """A hook: ordinary users may look into /proc of this module, as they may for most programs. (Modules forbid it.)"""
    around("_module.runner:forbid_core_dumps", lambda real: None)


def be_the_module(name: str, arguments: bytes, hooks: t.Sequence[Hook] = ()) -> None:
    """In a child: run it to its end, which is SystemExit. ``arguments``: of :func:`told`."""
    basic: t.Any = importlib.import_module("ansible.module_utils.basic")
    basic._ANSIBLE_ARGS = arguments
    basic._ANSIBLE_PROFILE = "legacy"  # core >= 2.19 asks for it, older ones do not look
    for hook in hooks:
        hook()
    importlib.import_module(f"{COLLECTION}.plugins.modules.{name}").main()


# In the server


def serve(requests: socket.socket) -> None:
    """Fork for each request until the test process closes its end."""
    import_what_children_need()
    gc.collect()
    gc.freeze()  # a child that collects garbage does not copy what it shares with the server
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    poll = select.poll()
    for waited in (requests, woken):
        poll.register(waited, select.POLLIN)
    children: t.Dict[int, socket.socket] = {}
    while True:
        events = dict(poll.poll())
        if requests.fileno() in events:
            message, fds, _flags, _address = socket.recv_fds(requests, 16, 8)
            if not message:
                break
            pid, control = _fork(requests, children.values(), fds)
            children[pid] = control
            poll.register(control, 0)  # only to be told when the test lets go of it
        if woken.fileno() in events:
            woken.recv(4096)
            for pid, status in _ended():
                control = children.pop(pid)
                poll.unregister(control)
                _tell(control, f"ended {status}")
                control.close()
        for pid, control in children.items():
            if control.fileno() in events:
                os.kill(pid, signal.SIGKILL)
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def import_what_children_need() -> None:
    """All modules and what they import only when they come to it: a child would do that anew each time."""
    for folder in ("plugins/module_utils/_luks", "plugins/module_utils/_module", "plugins/modules"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            importlib.import_module(
                ".".join((COLLECTION, *path.relative_to(ROOT).with_suffix("").parts)).replace(".__init__", "")
            )
    of_ansible = ("_module_legacy_c2m", "_module_legacy_m2c")  # since ansible-core 2.19
    libraries = (
        "argon2.low_level",
        "cryptography.hazmat.primitives.ciphers",
        "cryptography.hazmat.primitives.kdf.argon2",
    )
    for name in (
        *(f"ansible.module_utils._internal._json._profiles.{profile}" for profile in of_ansible),
        *libraries,
        "encodings.ascii",
    ):
        try:
            importlib.import_module(name)
        except ImportError:
            continue


def _ended() -> t.Iterator[t.Tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def _fork(
    requests: socket.socket, others: t.Iterable[socket.socket], fds: t.Sequence[int]
) -> t.Tuple[int, socket.socket]:
    control = socket.socket(fileno=fds[0])
    pid = os.fork()
    if not pid:
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            requests.close()
            for other in others:
                other.close()
            _be_the_child(control, *fds[1:])
        finally:
            os._exit(70)
    for fd in fds[1:]:
        os.close(fd)
    return pid, control


def _tell(control: socket.socket, message: str) -> None:
    try:
        control.send(message.encode())
    except OSError:
        return  # the test let go of it


def _be_the_child(control: socket.socket, request: int, output: int, errors: int, answer: int) -> t.NoReturn:
    global _to_the_test
    _to_the_test = control
    _tell(control, f"pid {os.getpid()}")
    os.dup2(output, 1)
    os.dup2(errors, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    faulthandler.enable(file=errors)
    code: t.Union[int, str, None] = 1
    try:
        with open(request, "rb") as file:
            file.seek(0)
            function, arguments, environment, folder = pickle.load(file)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        value = function(*arguments)
        os.write(answer, pickle.dumps(value))
        code = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 - as the interpreter would show it
        traceback.print_exc()
    for thread in threading.enumerate():  # as the interpreter does in the end, for the threads that are no daemons
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _main(what: str, value: str) -> None:
    runpy.run_path(str(pathlib.Path(__file__).resolve().with_name("register.py")))
    # By its full name, under which hooks and tests know it too.
    this = importlib.import_module(f"{COLLECTION}.tests.tools.module_server")
    if what == "--serve":
        this.serve(socket.socket(fileno=int(value)))
    else:
        sys.argv[1:] = []
        this.be_the_module(value, sys.stdin.buffer.read())


if __name__ == "__main__":
    _main(*sys.argv[1:])
