# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Ansible sends a module and its module_utils as a ZIP archive of sources, from which Python 3.8 to 3.13 compile each
module twice: ``zipimporter`` compiles it to tell its file name, and once more to run it.
"""

from __future__ import annotations

import os
import sys
import typing as t
import zipimport


class CompiledOnce(zipimport.zipimporter):
    """The importer of an archive, which tells a file name without compiling the file."""

    def get_filename(self, fullname: str) -> str:
        """Raises ZipImportError for a module that the archive does not have."""
        place = os.path.join(self.archive, self.prefix, fullname.rpartition(".")[2])
        return os.path.join(place, "__init__.py") if self.is_package(fullname) else f"{place}.py"


def compile_once(name: str) -> None:
    """Import by :class:`CompiledOnce` what is in its archive below the package ``name``, if an archive has it.

    Folders elsewhere in the archive from which something was imported before keep their importer.
    """
    package = sys.modules[name]
    loader: object = package.__spec__ and package.__spec__.loader
    if not isinstance(loader, zipimport.zipimporter):
        return
    archive = loader.archive

    def importer(path: str) -> t.Any:
        if path != archive and not path.startswith(archive + os.sep):
            raise ImportError(path)
        return CompiledOnce(path)

    sys.path_hooks.insert(0, importer)
    for root in package.__path__:
        for folder in list(sys.path_importer_cache):
            if folder == root or folder.startswith(root + os.sep):
                sys.path_importer_cache.pop(folder, None)
