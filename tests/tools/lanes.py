# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of test lanes.

A lane is a sentence, the smallest size that has it, and what it runs: tests for pytest, a function, or both.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import tempfile
import time
import typing as t

import importable
import npm
import pythons
import suite
import venvs
from lane import CACHE, ROOT, Lane, LaneSkipped
from needs import Need
from needs import missing as missing_need
from side_by_side import ALL

SIZES = {
    "default": "every promise in its short form, ten minutes on two processors; this is what runs without a name",
    "full": "all lanes but the longest, each in full; more than an hour",
    "long": "the long forms one after another; the same command goes on where it was stopped",
}

OLDEST_TARGET = (3, 8)

# Every release of ansible-core that is supported. The lanes without a number use the newest.
CORES = ("2.17", "2.18", "2.19", "2.20", "2.21")
ON_CORES = ("sanity", "units", "integration", "guides")

# The releases of Debian on which the newcomer types.
SUITES = ("bookworm", "trixie")

# In CI the fuzzer of the full size goes on for so many seconds.
FUZZ_IN_CI = ("--cases", "1000000", "--seconds", "300", "--again")
FUZZ_CASES = {"default": "5000", "full": "20000"}


def _with_core(lane: Lane) -> str:
    """The Python on which that ansible-core runs whose number follows the @ of the lane's name."""
    python = pythons.controller_for(lane.part)
    if not python:
        raise LaneSkipped(
            Need(
                f"a Python for ansible-core {lane.part}",
                f"pyenv install {pythons.named(pythons.CONTROLLERS[lane.part][0])}",
            )
        )
    return python


def _ansible_test(what: str, *arguments: str, name: str = "ansible-test") -> t.Callable[[Lane], None]:
    def run(lane: Lane) -> None:
        if lane.part:
            _with_core(lane)
        command = ["tests/tools/ansible-test", what, "--local", "--requirements", *arguments, *lane.arguments]
        lane.check(name, command, CORE=lane.part or None)

    return run


def _sanity_on_core(lane: Lane) -> None:
    """In full all of it. Else pylint reads what ships: the tests are most of the lines, and the lane sanity has them
    read.
    """
    if lane.size == "full" or lane.arguments:
        _ansible_test("sanity")(lane)
        return
    _ansible_test("sanity", "--skip-test", "pylint")(lane)
    _ansible_test("sanity", "--test", "pylint", "plugins/", name="pylint of what ships")(lane)


def _units_on_core(lane: Lane) -> None:
    """In full all unit tests. Else only those of what calls Ansible: the engine does not import it (test_rooms.py), so
    that its tests show nothing in this lane that the lane unit has not shown.
    """
    engine = () if lane.size == "full" or lane.arguments else ("--exclude", "tests/unit/plugins/module_utils/_luks/")
    _ansible_test("units", *engine)(lane)


def _integration(lane: Lane) -> None:
    _ansible_test("integration", *(("--allow-root", "--allow-destructive") if os.geteuid() == 0 else ()))(lane)


def _guides_on_core(lane: Lane) -> None:
    """The roles in the guides' playbooks with another ansible-core, in an environment like that of the other tests."""
    usual = (ROOT / "tests" / "requirements" / "unit.txt").read_text().splitlines()
    requirements = CACHE / f"unit-{lane.part}.txt"
    requirements.parent.mkdir(exist_ok=True)
    requirements.write_text(
        "\n".join(
            [*(line for line in usual if not line.startswith("ansible-core")), f"ansible-core~={lane.part}.0", ""]
        )
    )
    python = venvs.ensure(f"unit-{lane.part}", requirements, _with_core(lane)) / "bin" / "python"
    suite.run(lane, ["tests/guides"], lambda _name: lane.full_name, python=str(python), quiet=True)


def _with_tools(lane: Lane) -> str:
    """PATH for a tool that calls its neighbours (ansible-doc, ansible-galaxy) by name."""
    return f"{pathlib.Path(lane.tool('python')).parent}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _lint(lane: Lane) -> None:
    path = _with_tools(lane)
    tools = sorted(
        str(file.relative_to(ROOT))
        for folder in ("tests", "tests/tools")
        for file in (ROOT / folder).glob("*.py")
        if file.name != "conftest.py"
    )
    lane.check("ruff", [lane.tool("ruff"), "check", "--output-format", "concise", "."])
    lane.check("mypy engine", [lane.tool("mypy"), "plugins/module_utils/_luks"])
    lane.check("mypy report", [lane.tool("mypy"), "--package", "plugins.plugin_utils._report"])
    lane.check("mypy tools", [lane.tool("mypy"), *tools])
    lane.check("yamllint", [lane.tool("yamllint"), "--strict", "."])
    lane.check(
        "ansible-lint", [lane.tool("ansible-lint"), "--offline", "--profile", "production", "--strict"], PATH=path
    )
    lane.check(
        "antsibull-docs",
        [lane.tool("antsibull-docs"), "lint-collection-docs", "--plugin-docs", "--validate-collection-refs=all", "."],
        PATH=path,
    )
    lane.check("antsibull-changelog", [lane.tool("antsibull-changelog"), "lint"], PATH=path)
    lane.check("reuse", [lane.tool("reuse"), "lint", "--quiet"])
    _lint_ci_files(lane)
    _lint_page(lane)


def _lint_ci_files(lane: Lane) -> None:
    """What the guide on pipelines gives to CI services, by the schemas of these that come with the linter."""
    text = (ROOT / "docs/guides/images_in_a_build_pipeline.md").read_text(encoding="utf-8")
    schemas = {".github/workflows/images.yml": "vendor.github-workflows", ".gitlab-ci.yml": "vendor.gitlab-ci"}
    with tempfile.TemporaryDirectory(prefix="luksmith-ci-") as temporary:
        for name, block in re.findall(r"^```yaml (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            file = pathlib.Path(temporary) / pathlib.Path(name).name
            file.write_text(block, encoding="utf-8")
            lane.check(name, [lane.tool("check-jsonschema"), "--builtin-schema", schemas[name], str(file)])


def _lint_page(lane: Lane) -> None:
    """The HTML, CSS and JavaScript of the report page, by linters from npm."""
    try:
        found = npm.ensure("page")
    except npm.NotThere as error:
        print(f"lint: {error}", flush=True)
        need = Need("the page's linters from npm", "the same command where PyPI and npm can be reached")
        lane.note("eslint, stylelint, html-validate, prettier", "failed" if lane.strict else "skipped", why=str(need))
        return
    page = "plugins/plugin_utils/_report"
    for name, settings, *words in (
        ("eslint", "eslint.config.mjs", "--max-warnings", "0", page),
        ("stylelint", "stylelint.config.mjs", "--max-warnings", "0", f"{page}/**/*.css"),
        ("html-validate", "htmlvalidate.json", "--max-warnings", "0", f"{page}/page.html"),
        ("prettier", "prettier.json", "--no-editorconfig", "--check", f"{page}/**/*.{{css,js}}"),
    ):
        lane.check(name, [found.named(name), "--config", str(found.folder / settings), *words], PATH=found.path)


def _build(lane: Lane) -> None:
    with tempfile.TemporaryDirectory(prefix="luksmith-build-") as temporary:
        galaxy = lane.tool("ansible-galaxy", "unit")
        lane.check("build", [galaxy, "collection", "build", "--output-path", temporary])
        archives = list(pathlib.Path(temporary).glob("luksmith-luks-*.tar.gz"))
        if archives:
            lane.check(
                "install",
                [galaxy, "collection", "install", "--offline", "--collections-path", temporary, str(archives[0])],
                ANSIBLE_COLLECTIONS_PATH=temporary,
            )
            modules = sorted(path.stem for path in (ROOT / "plugins/modules").glob("[a-z]*.py"))
            names = [f"luksmith.luks.{module}" for module in modules]
            ansible_doc = [lane.tool("ansible-doc", "unit"), "--type", "module", "--json", *names]
            lane.check("ansible-doc", ansible_doc, cwd=pathlib.Path(temporary), ANSIBLE_COLLECTIONS_PATH=temporary)
            # Its page is made of files that are no Python.
            report = json.dumps({"hosts": [{"host": "web"}], "html": f"{temporary}/page.html"})
            command = [
                lane.tool("ansible", "unit"),
                "localhost",
                "--module-name",
                "luksmith.luks.fleet_report",
                "--args",
                report,
            ]
            lane.check("report", command, cwd=pathlib.Path(temporary), ANSIBLE_COLLECTIONS_PATH=temporary)


def _importer(lane: Lane) -> None:
    """What Galaxy does with an upload.

    Its own ansible-test would need a container; the lanes sanity and units have run that.
    """
    settings = ROOT / "tests/tools/galaxy-importer.cfg"
    with tempfile.TemporaryDirectory(prefix="luksmith-importer-") as temporary:
        lane.check("build", [lane.tool("ansible-galaxy"), "collection", "build", "--output-path", temporary])
        archive = next(iter(pathlib.Path(temporary).glob("luksmith-luks-*.tar.gz")), None)
        if archive is None:
            return
        python = lane.tool("python", "importer")
        path = f"{pathlib.Path(python).parent}:{os.environ.get('PATH', '')}"
        # It writes importer_result.json where it is started.
        lane.check(
            "galaxy-importer",
            [python, "tests/tools/strict_importer.py", str(archive)],
            PATH=path,
            GALAXY_IMPORTER_CONFIG=str(settings),
        )
        builder = lane.tool("ansible-builder", "importer")
        lane.check("execution environment", [builder, "introspect", "--sanitize", str(importable.collections_path())])


def _docsite(lane: Lane) -> None:
    lane.check("docsite", ["docs/docsite/build"])


def _targets(lane: Lane) -> None:
    """Every Python of a target: the plugins compile, and they import with the module_utils of an Ansible that still
    serves it.
    """
    found = {version: path for version, path in pythons.installed().items() if version >= OLDEST_TARGET}
    if OLDEST_TARGET not in found:
        oldest = pythons.named(OLDEST_TARGET)
        lane.note(
            f"Python {oldest}, the oldest target",
            "skipped",
            why=str(Need(f"Python {oldest}", f"pyenv install {oldest}")),
        )
    library = CACHE / "module_utils"
    for (major, minor), python in found.items():
        core = "core-2.18" if minor < 9 else "unit"
        site = next(
            venvs.ensure(core, ROOT / "tests" / "requirements" / f"{core}.txt").glob("lib/python3*/site-packages")
        )
        folder = library / core
        folder.mkdir(parents=True, exist_ok=True)
        link = folder / "ansible"
        link.unlink(missing_ok=True)
        link.symlink_to(site / "ansible")
        lane.check(f"Python {major}.{minor}", [python, "tests/tools/import_plugins.py"], PYTHONPATH=str(folder))


def _fuzz(lane: Lane) -> None:
    short = (
        FUZZ_IN_CI
        if lane.size == "full" and os.environ.get("CI") == "true"
        else ("--cases", FUZZ_CASES[lane.size], "--again")
    )
    command = [lane.tool("python", "unit"), "tests/fuzz/main.py", *(lane.arguments or short)]
    if lane.arguments:
        _shown(lane, "fuzzer", command)
    else:
        lane.check("fuzzer", command)


def _newcomer(lane: Lane) -> None:
    """Each of its tests is a whole run of the default size."""
    suite.run(
        lane, ["tests/newcomer", *(("-k", lane.part) if lane.part else ())], lambda _name: lane.full_name, workers=0
    )


def _mutants(lane: Lane) -> None:
    """In full refusals, comparisons and steps; all kinds else."""
    kinds = ("--kind=never refused", "--kind=always equal", "--kind=call left out")
    arguments = kinds if lane.size == "full" and not lane.arguments else lane.arguments
    _shown(lane, "mutants", [lane.tool("python", "mutants"), "tests/mutants/main.py", *arguments])


def _shown(lane: Lane, what: str, command: t.Sequence[str]) -> None:
    begin = time.monotonic()
    code = lane.show(what, command)
    lane.note(what, "failed" if code else "passed", time.monotonic() - begin, f"exit code {code}" if code else "")


def _benchmark(lane: Lane) -> None:
    lane.check("benchmark", ["tests/benchmark/run", "--short", *lane.arguments])


def _demo(lane: Lane) -> None:
    lane.check("demo", ["demo/run"])


def _scale(lane: Lane) -> None:
    lane.check("simulated hosts", [lane.tool("python", "unit"), "tests/scale/measure.py", *(lane.arguments or ["12"])])


def _molecule(lane: Lane) -> None:
    without = ["--exclude", "vm"]
    lacking = missing_need("root") or missing_need("sshd")
    if lacking:
        lane.note("scenario fleet", "skipped", why=str(lacking))
        without += ["--exclude", "fleet"]
    lane.check("molecule", [lane.tool("molecule"), "test", "--all", *without, *lane.arguments], PATH=_with_tools(lane))


def _molecule_environment(lane: Lane) -> t.Dict[str, str]:
    return {"LUKSMITH_MOLECULE": lane.tool("molecule")}


def _molecule_vm(lane: Lane) -> None:
    lane.check(
        "molecule", [lane.tool("molecule"), "test", "--scenario-name", "vm", *lane.arguments], PATH=_with_tools(lane)
    )


def _peer(lane: Lane) -> t.Dict[str, str]:
    return {"LUKSMITH_PEER_PYTHON": lane.tool("python", "peer")}


def _mitogen(lane: Lane) -> t.Dict[str, str]:
    """Without the package its tests skip themselves; the lanes that share their pytest go on."""
    try:
        return {"LUKSMITH_MITOGEN_PYTHON": lane.tool("python", "mitogen")}
    except SystemExit:
        return {"LUKSMITH_MITOGEN_PYTHON": ""}


@dataclasses.dataclass(frozen=True)
class Description:
    """A lane.

    size: the smallest size that has it, "default", "full" or "long" (long.py says how); "by name" for one that is in no
    size
    paths: of tests; all lanes that have some share one pytest, but for those that are ``alone``
    run: what it does besides, with programs of its own; it keeps ``cores`` of the processors busy (0: it may run beside
    anything)
    needs: what ``run`` cannot do without (tests say it themselves)
    judged: it means little without cryptsetup and QEMU, which --strict therefore demands
    parts: what may follow an @; ``run_part`` is what it does then
    own_arguments: what follows -- is for ``run``, and then pytest is left out
    environment: variables that its tests want
    alone: its tests are no company for others; ``run`` starts them
    """

    says: str
    size: str = "default"
    paths: t.Tuple[str, ...] = ()
    run: t.Optional[t.Callable[[Lane], None]] = None
    cores: int = 1
    needs: t.Tuple[str, ...] = ()
    judged: bool = False
    parts: t.Tuple[str, ...] = ()
    run_part: t.Optional[t.Callable[[Lane], None]] = None
    own_arguments: bool = False
    environment: t.Optional[t.Callable[[Lane], t.Dict[str, str]]] = None
    alone: bool = False


LANES: t.Dict[str, Description] = {
    "unit": Description("each part of the engine alone; no root, no other program", paths=("tests/unit",)),
    "property": Description(
        "the planner against an independent search, parsers against random bytes", paths=("tests/property",)
    ),
    "crash": Description(
        "every disk that a crash can leave opens, and the next run ends it; -- --thorough is the long form",
        paths=("tests/crash",),
        judged=True,
    ),
    "kills": Description(
        "the module's process killed; -- --kills 500 is the long form",
        paths=("tests/crash/test_kills.py",),
        judged=True,
    ),
    "faults": Description(
        "an I/O fault at each system call on the volume; -- --thorough is the long form",
        paths=("tests/crash/test_faults.py", "tests/crash/test_real_faults.py"),
        judged=True,
    ),
    "races": Description(
        "volume, path or header changed by somebody else at each moment between look and write",
        paths=("tests/crash/test_replaced.py",),
        judged=True,
    ),
    "interop": Description(
        "cryptsetup and QEMU judge what was written, and the other way round",
        paths=("tests/interop", "tests/testkit"),
        judged=True,
    ),
    "fuzz": Description(
        "hostile headers by the thousand: only our own errors, in bounds, and nothing written; -- --cases 1000000 is "
        "the long form",
        paths=("tests/fuzz",),
        run=_fuzz,
        cores=0,  # its processes stand back for others
        needs=("cryptsetup",),
        judged=True,
        own_arguments=True,
    ),
    "secrets": Description(
        "canaries through every source, success, refusal and crash; they are on the volume and nowhere else",
        paths=("tests/secrets",),
        judged=True,
    ),
    "rotation": Description(
        "the playbook killed at every task and within, and what the next run makes of it",
        paths=("tests/rotation",),
        judged=True,
    ),
    "guides": Description(
        "every playbook of docs/guides and of the collection, run on small volumes and judged by cryptsetup",
        paths=("tests/guides",),
        judged=True,
        parts=CORES,
        run_part=_guides_on_core,
    ),
    "browser": Description("the report page in a headless browser without a network", paths=("tests/browser",)),
    "demo": Description("demo/run: the README's first command", run=_demo, cores=0),
    "build": Description(
        "the collection is built, installed elsewhere, its documentation read and a report made from there",
        run=_build,
        cores=0,
    ),
    "vm": Description(
        "virtual machines with a real dm-crypt kernel, their power cut while keyslots are rotated; -- --cuts 50 is "
        "the long form",
        "full",
        paths=("tests/vm",),
        judged=True,
    ),
    "hosts": Description(
        "Debian 12 and 13 as debootstrap makes them, managed with their own packages only",
        "full",
        paths=("tests/hosts",),
        judged=True,
    ),
    "newcomer": Description(
        "the README's two commands, typed by an ordinary user who has just cloned it, on Debian 12 and 13 as "
        "debootstrap makes them",
        "full",
        paths=("tests/newcomer",),
        run=_newcomer,
        cores=ALL,
        needs=("debootstrap", "root"),
        parts=SUITES,
        run_part=_newcomer,
        alone=True,
    ),
    "peers": Description(
        "the same wishes told to luks_device, judged by cryptsetup",
        "full",
        paths=("tests/peers",),
        judged=True,
        environment=_peer,
    ),
    "mitogen": Description(
        "every module under Mitogen for Ansible, with and without a process of its own",
        "full",
        paths=("tests/mitogen",),
        judged=True,
        environment=_mitogen,
    ),
    "benchmark": Description(
        "every contestant runs once on cheap volumes, and derivations are counted; tests/benchmark/run is the long "
        "form",
        "full",
        run=_benchmark,
        needs=("cryptsetup", "loop", "qemu-img"),
        judged=True,
    ),
    "scale": Description(
        "simulated hosts, the report checked, the controller's cost measured; -- 1000 is the long form",
        "full",
        run=_scale,
    ),
    "sanity": Description(
        "ansible-test sanity, all tests, no exceptions",
        "full",
        run=_ansible_test("sanity"),
        parts=CORES,
        run_part=_sanity_on_core,
    ),
    "units": Description(
        "tests/unit inside ansible-test (with the newest ansible-core the lane unit has shown it)",
        "by name",
        run=_ansible_test("units"),
        parts=CORES,
        run_part=_units_on_core,
    ),
    "integration": Description(
        "ansible-test integration: the modules called by playbooks",
        "full",
        run=_integration,
        judged=True,
        parts=CORES,
        run_part=_integration,
    ),
    "molecule": Description(
        "playbooks against small volumes, here and on three sshd hosts, twice, then verified; right and wrong roles in "
        "the scenario for role authors",
        "full",
        paths=("tests/molecule",),
        run=_molecule,
        own_arguments=True,
        environment=_molecule_environment,
    ),
    "molecule-vm": Description(
        "the rotation on a virtual machine, its power cut meanwhile, and a reboot with the new secret",
        "long",
        run=_molecule_vm,
        needs=("debootstrap", "mkfs.ext4", "qemu-system-x86_64", "root", "ssh"),
        judged=True,
    ),
    "lint": Description(
        "ruff, mypy, yamllint, ansible-lint, antsibull-docs, antsibull-changelog, reuse, check-jsonschema; for the "
        "report page eslint, stylelint, html-validate, prettier",
        "full",
        run=_lint,
    ),
    "importer": Description(
        "galaxy-importer on the built collection, with nothing but green; what an execution environment needs",
        "full",
        run=_importer,
    ),
    "docsite": Description(
        "docs/docsite/build: the documentation as web pages in .cache/docsite", "full", run=_docsite
    ),
    "targets": Description(
        "plugins compile and import on every Python from 3.8 that is installed here", "full", run=_targets
    ),
    "mutants": Description(
        "each refusal, comparison and step of the plugins taken out, one at a time; a test has to notice; by name also "
        "each reason of a refusal (an hour or more; goes on where it was stopped)",
        "full",
        run=_mutants,
        cores=ALL,
        needs=("cryptsetup", "qemu-img", "qemu-io", "qemu-nbd", "qemu-storage-daemon"),
        judged=True,
    ),
}

# Names for several lanes.
ALIASES: t.Dict[str, t.Tuple[str, ...]] = {
    "oldest": tuple(f"{what}@{CORES[0]}" for what in ON_CORES),
    "matrix": tuple(f"{what}@{core}" for core in CORES for what in ON_CORES),
}


def files_of(name: str) -> t.List[str]:
    """The test files and folders of a lane, without those that another lane takes out of its folder."""
    found: t.List[str] = []
    for path in LANES[name].paths:
        taken = {
            file for other, lane in LANES.items() if other != name for file in lane.paths if file.startswith(f"{path}/")
        }
        found += (
            sorted({str(file.relative_to(ROOT)) for file in (ROOT / path).rglob("test_*.py")} - taken)
            if taken
            else [path]
        )
    return found


def lane_of(test: str) -> str:
    """The lane that has this test (``tests/FOLDER/FILE::NAME``): the one with the longest path that fits."""
    file = test.split("::")[0]
    fitting = [
        (len(path), name)
        for name, lane in LANES.items()
        for path in lane.paths
        if file == path or file.startswith(f"{path}/")
    ]
    return max(fitting)[1] if fitting else file


def of_size(size: str) -> t.List[str]:
    """The lanes of ``./tests/run`` and of ``./tests/run full``."""
    sizes = ("default", "full")[: 1 if size == "default" else 2]
    return [name for name, lane in LANES.items() if lane.size in sizes] + (
        [*ALIASES["oldest"]] if size == "full" else []
    )
