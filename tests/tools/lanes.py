# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of test lanes. A lane is a sentence, the programs it cannot do without, and a function."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import tempfile
import typing as t

import importable
import pythons
import venvs
from lane import CACHE, ROOT, Lane, LaneSkipped

OLDEST_TARGET = (3, 8)

# Every release of ansible-core that is supported; all of them run on Python 3.12. The lanes without a number use the newest.
CORES = ("2.17", "2.18", "2.19", "2.20", "2.21")
CONTROLLER_OF_ALL_CORES = "3.12"

# Tests that share nothing go to whoever is free; those of one interop file may share a volume or a device.
PARALLEL = ("-n", "auto", "--dist", "worksteal")
BY_FILE = ("-n", "auto", "--dist", "loadfile")
# An emulated machine keeps a processor busy and holds its disks in memory.
TWO_MACHINES = ("-n", "2", "--dist", "loadgroup")


def _pytest(folder: str, *arguments: str) -> t.Callable[[Lane], None]:
    def run(lane: Lane) -> None:
        if not (ROOT / folder).exists():
            raise LaneSkipped(f"there is no {folder}")
        lane.show("pytest", [lane.tool("python", "unit"), "-m", "pytest", "-q", "-rs", *arguments, folder, *lane.arguments])

    return run


def _ansible_test(what: str, *arguments: str, needs: str = "") -> t.Callable[[Lane], None]:
    def run(lane: Lane) -> None:
        if needs and not (ROOT / needs).is_dir():
            raise LaneSkipped(f"there is no folder {needs}")
        python = re.sub(r".*python(\d\.\d+)$", r"\1", pythons.controller())
        lane.check(f"ansible-test {what}", ["tests/tools/ansible-test", what, "--local", "--requirements", "--python", python, *arguments, *lane.arguments])

    return run


def _integration(lane: Lane) -> None:
    as_root = ("--allow-root", "--allow-destructive") if os.geteuid() == 0 else ()
    _ansible_test("integration", *as_root, needs="tests/integration/targets")(lane)


def _peers(lane: Lane) -> None:
    lane.show(
        "pytest",
        [lane.tool("python", "unit"), "-m", "pytest", "-q", "-rs", *PARALLEL, "tests/peers", *lane.arguments],
        LUKSMITH_PEER_PYTHON=lane.tool("python", "peer"),
    )


def _on_cores(*cores: str) -> t.Callable[[Lane], None]:
    """ansible-test, and the roles in the guides' playbooks, with other releases of ansible-core than the one the other lanes use."""

    def run(lane: Lane) -> None:
        as_root = ("--allow-root", "--allow-destructive") if os.geteuid() == 0 else ()
        for core in cores:
            for what, more in (("sanity", ()), ("units", ()), ("integration", as_root)):
                command = ["tests/tools/ansible-test", what, "--local", "--requirements", "--python", CONTROLLER_OF_ALL_CORES, *more, *lane.arguments]
                lane.check(f"{core} {what}", command, CORE=core)
            if not lane.arguments:  # they would be ansible-test's
                lane.check(f"{core} guides", [_python_with(core), "-m", "pytest", "-q", "-rs", *PARALLEL, "tests/guides"])

    return run


def _python_with(core: str) -> str:
    """The interpreter of an environment like that of the unit tests, with another release of ansible-core."""
    usual = (ROOT / "tests" / "requirements" / "unit.txt").read_text().splitlines()
    requirements = CACHE / f"unit-{core}.txt"
    requirements.write_text("\n".join([*(line for line in usual if not line.startswith("ansible-core")), f"ansible-core~={core}.0", ""]))
    return str(venvs.ensure(f"unit-{core}", requirements) / "bin" / "python")


def _with_tools(lane: Lane) -> str:
    """PATH for a tool that calls its neighbours (ansible-doc, ansible-galaxy) by name."""
    return f"{pathlib.Path(lane.tool('python')).parent}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _lint(lane: Lane) -> None:
    path = _with_tools(lane)
    tools = sorted(str(file.relative_to(ROOT)) for file in (ROOT / "tests/tools").glob("*.py"))
    lane.check("ruff", [lane.tool("ruff"), "check", "--output-format", "concise", "."])
    lane.check("mypy engine", [lane.tool("mypy"), "plugins/module_utils/_luks"])
    lane.check("mypy tools", [lane.tool("mypy"), *tools])
    lane.check("yamllint", [lane.tool("yamllint"), "--strict", "."])
    lane.check("ansible-lint", [lane.tool("ansible-lint"), "--offline", "--profile", "production", "--strict"], PATH=path)
    lane.check("antsibull-docs", [lane.tool("antsibull-docs"), "lint-collection-docs", "--plugin-docs", "--validate-collection-refs=all", "."], PATH=path)
    lane.check("antsibull-changelog", [lane.tool("antsibull-changelog"), "lint"], PATH=path)
    lane.check("reuse", [lane.tool("reuse"), "lint", "--quiet"])


def _build(lane: Lane) -> None:
    with tempfile.TemporaryDirectory(prefix="luksmith-build-") as temporary:
        galaxy = lane.tool("ansible-galaxy")
        lane.check("build", [galaxy, "collection", "build", "--output-path", temporary])
        archives = list(pathlib.Path(temporary).glob("luksmith-luks-*.tar.gz"))
        if archives:
            lane.check(
                "install", [galaxy, "collection", "install", "--offline", "--collections-path", temporary, str(archives[0])], ANSIBLE_COLLECTIONS_PATH=temporary
            )
            modules = sorted(path.stem for path in (ROOT / "plugins/modules").glob("[a-z]*.py"))
            names = [f"luksmith.luks.{module}" for module in modules]
            ansible_doc = [lane.tool("ansible-doc"), "--type", "module", "--json", *names]
            lane.check("ansible-doc", ansible_doc, cwd=pathlib.Path(temporary), ANSIBLE_COLLECTIONS_PATH=temporary)


def _importer(lane: Lane) -> None:
    """What Galaxy does with an upload. Its own ansible-test would need a container; the lanes sanity and units have run that."""
    settings = ROOT / "tests/tools/galaxy-importer.cfg"
    with tempfile.TemporaryDirectory(prefix="luksmith-importer-") as temporary:
        lane.check("build", [lane.tool("ansible-galaxy"), "collection", "build", "--output-path", temporary])
        archive = next(iter(pathlib.Path(temporary).glob("luksmith-luks-*.tar.gz")), None)
        if archive is None:
            return
        python = lane.tool("python", "importer")
        path = f"{pathlib.Path(python).parent}:{os.environ.get('PATH', '')}"
        # It writes importer_result.json where it is started.
        lane.check("galaxy-importer", [python, "tests/tools/strict_importer.py", str(archive)], PATH=path, GALAXY_IMPORTER_CONFIG=str(settings))
        builder = lane.tool("ansible-builder", "importer")
        lane.check("execution environment", [builder, "introspect", "--sanitize", str(importable.collections_path())])


def _docsite(lane: Lane) -> None:
    lane.check("docsite", ["docs/docsite/build"])


def _targets(lane: Lane) -> None:
    """Every Python of a target: the plugins compile, and they import with the module_utils of an Ansible that still serves it."""
    found = {version: path for version, path in pythons.installed().items() if version >= OLDEST_TARGET}
    if OLDEST_TARGET not in found:
        lane.skips.append(f"Python {OLDEST_TARGET[0]}.{OLDEST_TARGET[1]}, the oldest target, is not installed")
    library = CACHE / "module_utils"
    for (major, minor), python in found.items():
        core = "core-2.18" if minor < 9 else "unit"
        site = next(venvs.ensure(core, ROOT / "tests" / "requirements" / f"{core}.txt").glob("lib/python3*/site-packages"))
        folder = library / core
        folder.mkdir(parents=True, exist_ok=True)
        link = folder / "ansible"
        link.unlink(missing_ok=True)
        link.symlink_to(site / "ansible")
        lane.check(f"Python {major}.{minor}", [python, "tests/tools/import_plugins.py"], PYTHONPATH=str(folder))


def _fuzz(lane: Lane) -> None:
    """The planted faults first: cases that find nothing mean something only then. With arguments the fuzzer alone runs."""
    python = lane.tool("python", "unit")
    if not lane.arguments:
        lane.show("planted faults", [python, "-m", "pytest", "-q", "-rs", *PARALLEL, "tests/fuzz"])
    short = ("--cases", "1000000", "--seconds", "300") if os.environ.get("CI") == "true" else ("--cases", "20000")
    lane.show("fuzzer", [python, "tests/fuzz/main.py", *(lane.arguments or (*short, "--again"))])


def _mutants(lane: Lane) -> None:
    lane.show("mutants", [lane.tool("python", "mutants"), "tests/mutants/main.py", *lane.arguments])


def _benchmark(lane: Lane) -> None:
    if os.geteuid() != 0:
        raise LaneSkipped("luks_device needs a loop device, and that needs root")
    lane.check("benchmark", ["tests/benchmark/run", "--short", *lane.arguments])


def _demo(lane: Lane) -> None:
    lane.check("demo", ["demo/run"])


def _scale(lane: Lane) -> None:
    lane.check("simulated hosts", [lane.tool("python", "unit"), "tests/scale/measure.py", *(lane.arguments or ["12"])])


def _molecule(lane: Lane) -> None:
    if not (ROOT / "extensions/molecule").is_dir():
        raise LaneSkipped("there is no folder extensions/molecule")
    without = ["--exclude", "vm"]
    if os.geteuid() != 0 or not shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        lane.skips.append("scenario fleet: it needs root and openssh-server for its hosts")
        without += ["--exclude", "fleet"]
    lane.check("molecule", [lane.tool("molecule"), "test", "--all", *without, *lane.arguments], PATH=_with_tools(lane))


def _molecule_vm(lane: Lane) -> None:
    if os.geteuid() != 0:
        raise LaneSkipped("only root can make the root file system of the virtual machine")
    lane.check("molecule", [lane.tool("molecule"), "test", "--scenario-name", "vm", *lane.arguments], PATH=_with_tools(lane))


class Description(t.NamedTuple):
    says: str
    run: t.Callable[[Lane], None]
    needs: t.Tuple[str, ...] = ()
    only_by_name: bool = False  # too long for every day; README and --help say how long


PEERS = ("cryptsetup", "qemu-img")
VM = (*PEERS, "qemu-system-x86_64", "debootstrap", "mkfs.ext4", "ssh")
KILLERS = ("cryptsetup", "strace")

LANES: t.Dict[str, Description] = {
    "unit": Description("tests/unit: each part of the engine alone; no root, no other program", _pytest("tests/unit", *PARALLEL)),
    "property": Description("tests/property: the planner against an independent search, parsers against random bytes", _pytest("tests/property")),
    "crash": Description(
        "tests/crash: every disk that a crash can leave opens, and the next run ends it; -- --thorough is the long form",
        _pytest("tests/crash/test_crashes.py", *PARALLEL, "tests/crash/test_system_calls.py", "tests/crash/test_restore_power_cuts.py"),
        PEERS,
    ),
    "kills": Description(
        "tests/crash/test_kills.py: the module's process killed at random instants; -- --kills 500 is the long form",
        _pytest("tests/crash/test_kills.py", *PARALLEL),
        PEERS,
    ),
    "faults": Description(
        "tests/crash/test_faults.py: an I/O fault at each system call on the volume; -- --thorough is the long form",
        _pytest("tests/crash/test_faults.py", *PARALLEL, "tests/crash/test_real_faults.py"),
        PEERS,
    ),
    "races": Description(
        "tests/crash/test_replaced.py: volume, path or header changed by somebody else at each moment between look and write",
        _pytest("tests/crash/test_replaced.py", *PARALLEL),
        PEERS[:1],
    ),
    "interop": Description("tests/interop: cryptsetup and QEMU judge what was written, and the other way round", _pytest("tests/interop", *BY_FILE), PEERS),
    "fuzz": Description("tests/fuzz: hostile headers by the ten thousand; only our own errors, in bounds, and nothing written", _fuzz, PEERS[:1]),
    "secrets": Description(
        "tests/secrets: canaries through every source, success, refusal and crash; they are on the volume and nowhere else",
        _pytest("tests/secrets", *PARALLEL),
        (*PEERS[:1], "strace"),
    ),
    "vm": Description(
        "tests/vm: virtual machines with a real dm-crypt kernel, their power cut while keyslots are rotated; -- --cuts 50 is the long form",
        _pytest("tests/vm", *TWO_MACHINES),
        VM,
    ),
    "hosts": Description("tests/hosts: Debian 12 and 13 as debootstrap makes them, managed with their own packages only", _pytest("tests/hosts"), PEERS[:1]),
    "rotation": Description(
        "tests/rotation: the playbook killed at every task and within, and what the next run makes of it", _pytest("tests/rotation", *PARALLEL), KILLERS
    ),
    "peers": Description("tests/peers: the same wishes told to luks_device, judged by cryptsetup", _peers, PEERS),
    "benchmark": Description(
        "tests/benchmark: every contestant runs once on cheap volumes, and derivations are counted; tests/benchmark/run is the long form", _benchmark, PEERS
    ),
    "browser": Description("tests/browser: the report page in a headless browser without a network", _pytest("tests/browser"), ("chromium",)),
    "sanity": Description("ansible-test sanity, all tests, no exceptions", _ansible_test("sanity")),
    "units": Description("tests/unit once more, inside ansible-test", _ansible_test("units", needs="tests/unit")),
    "integration": Description("tests/integration: the modules called by playbooks", _integration, PEERS),
    "molecule": Description("extensions/molecule: playbooks against small volumes, here and on three sshd hosts, twice, then verified", _molecule),
    "molecule-vm": Description(
        "extensions/molecule/vm: the rotation on a virtual machine, its power cut meanwhile, and a reboot with the new secret",
        _molecule_vm,
        VM,
        only_by_name=True,
    ),
    "scale": Description("tests/scale: simulated hosts, the report checked, the controller's cost measured; -- 1000 is the long form", _scale),
    "guides": Description(
        "tests/guides: every playbook of docs/guides, run on small volumes and judged by cryptsetup", _pytest("tests/guides", *PARALLEL), PEERS[:1]
    ),
    "demo": Description("demo/run: the README's first command", _demo),
    "lint": Description("ruff, mypy, yamllint, ansible-lint, antsibull-docs, antsibull-changelog, reuse", _lint),
    "build": Description("the collection is built, installed elsewhere, and its documentation read from there", _build),
    "importer": Description("galaxy-importer on the built collection, with nothing but green; what an execution environment needs", _importer),
    "docsite": Description("docs/docsite/build: the documentation as web pages in .cache/docsite", _docsite),
    "oldest": Description(f"sanity, units, integration and guides with ansible-core {CORES[0]}", _on_cores(CORES[0])),
    "matrix": Description(
        f"sanity, units, integration and guides with ansible-core {', '.join(CORES)} (half an hour)", _on_cores(*CORES), PEERS, only_by_name=True
    ),
    "mutants": Description(
        "tests/mutants: each check of the plugins taken out, one at a time; a test has to notice (hours; goes on where it was stopped)",
        _mutants,
        PEERS[:1],
        only_by_name=True,
    ),
    "targets": Description("plugins compile and import on every Python from 3.8 that is installed here", _targets),
}
