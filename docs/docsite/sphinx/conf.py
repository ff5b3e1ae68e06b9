# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of Sphinx.

Nothing is fetched: neither fonts nor other projects' inventories, so that the pages build and read offline.
"""

from __future__ import annotations

project = "luksmith.luks"
html_title = "luksmith.luks"
project_copyright = "2026 The luksmith developers"
extensions = ["myst_parser", "sphinx_antsibull_ext"]
myst_heading_anchors = 3
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["furo.css"]
html_show_sphinx = False
html_copy_source = False
pygments_style = "default"
highlight_language = "YAML+Jinja"
# Targets in the documentation of Ansible itself, which only a build inside Ansible's own site can resolve.
suppress_warnings = ["ref.ref", "myst.xref_missing"]
