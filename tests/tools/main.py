# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test command: run those lanes that are named, or all but the longest, and say at the end what passed, failed or was skipped, and why.

Exit code 0 when no lane failed, 1 otherwise.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from lane import Lane, LaneSkipped, programs_missing
from lanes import LANES, Description


def _arguments() -> argparse.Namespace:
    lines = "\n".join(f"  {name + '*' * lane.only_by_name:12} {lane.says}" for name, lane in LANES.items())
    parser = argparse.ArgumentParser(
        prog="tests/run", description="Run the tests of luksmith.luks.", epilog=f"lanes:\n{lines}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lanes", nargs="*", metavar="LANE", help="lanes to run, in this order (default: all that are not marked *)")
    strict = os.environ.get("CI") == "true"
    parser.add_argument("--strict", action="store_true", default=strict, help="a missing program is a failure, not a skip (also: CI=true)")
    own, passed_on = sys.argv[1:], []
    if "--" in own:
        passed_on = own[own.index("--") + 1 :]
        own = own[: own.index("--")]
    arguments = parser.parse_args(own)
    unknown = [name for name in arguments.lanes if name not in LANES]
    if unknown:
        parser.error(f"no such lane: {', '.join(unknown)}")
    arguments.passed_on = passed_on
    return arguments


def _run(lane: Lane, description: Description, strict: bool) -> str:
    """Returns the outcome: passed, failed or skipped."""
    missing = programs_missing(description.needs)
    if missing:
        (lane.failures if strict else lane.skips).append(f"not installed: {', '.join(missing)}")
        return "failed" if strict else "skipped"
    begin = time.monotonic()
    try:
        description.run(lane)
    except LaneSkipped as reason:
        lane.skips.append(str(reason))
        return "skipped"
    except SystemExit as stopped:
        lane.failures.append(str(stopped))
    finally:
        lane.seconds = time.monotonic() - begin
    return "failed" if lane.failures else "passed"


def main() -> int:
    arguments = _arguments()
    outcomes = []
    for name in arguments.lanes or [name for name, lane in LANES.items() if not lane.only_by_name]:
        description = LANES[name]
        lane = Lane(name, arguments.passed_on)
        print(f"\n== {name}: {description.says}", flush=True)
        outcome = _run(lane, description, arguments.strict)
        outcomes.append((lane, outcome))
        print(f"== {name}: {outcome} after {lane.seconds:.0f} s", flush=True)
    print()
    for lane, outcome in outcomes:
        print(f"{lane.name:12} {outcome:8} {lane.seconds:5.0f} s")
        for line in lane.failures:
            print(f"{'':12} failed:  {line}")
        for line in lane.skips:
            print(f"{'':12} skipped: {line}")
    counts = {word: sum(outcome == word for _lane, outcome in outcomes) for word in ("passed", "failed", "skipped")}
    print(f"{counts['passed']} passed, {counts['failed']} failed" + (f", {counts['skipped']} skipped" if counts["skipped"] else ""))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
