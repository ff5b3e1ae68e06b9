# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  entry:
    description:
      - Entry to write.
      - Required with O(operation=write).
    type: dict
  version:
    description:
      - RV(version) of the last read. The write is refused if another run has written the entry since.
    type: int
    default: 0
  lock_timeout:
    description:
      - Time to wait for another run that uses the file, in seconds.
    type: float
    default: 60.0
  create:
    description:
      - Whether to make the folder of the store if it does not exist. Without that, a store that is not mounted would
        begin anew elsewhere.
    type: bool
    default: false
    version_added: 2.0.0
  previous:
    description:
      - How many copies to keep of what the file held before, PATH C(.previous-1) the newest. An editor that was open
        meanwhile and saves an old file over a new one would destroy the only copy of a secret otherwise.
    type: int
    default: 5
    version_added: 2.0.0
"""
