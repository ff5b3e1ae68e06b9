# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema of the report, for tests that make one. The judge is the public validator ``jsonschema``."""

from __future__ import annotations

import json
import pathlib
import typing as t

FILE = pathlib.Path(__file__).parents[5] / "docs/report.schema.json"


def schema() -> t.Dict[str, t.Any]:
    return t.cast(t.Dict[str, t.Any], json.loads(FILE.read_text(encoding="utf-8")))


def available() -> bool:
    try:
        import jsonschema  # noqa: F401
    except ImportError:
        return False
    return True


def complaints(report: t.Mapping[str, t.Any]) -> t.List[str]:
    """What the schema has against the report, as it is written. Needs ``jsonschema``."""
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema())
    written = json.loads(json.dumps(report))
    return [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in validator.iter_errors(written)
    ]
