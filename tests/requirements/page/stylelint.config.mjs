// Copyright (c) 2026 The luksmith developers
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The looks of the report page.

export default {
  extends: ["stylelint-config-standard"],
  reportDescriptionlessDisables: true,
  reportInvalidScopeDisables: true,
  reportNeedlessDisables: true,
  rules: {
    // Nothing may be requested from anywhere.
    "at-rule-disallowed-list": ["import", "font-face"],
    "function-disallowed-list": ["url", "image-set"],
    "declaration-no-important": true,
    // A report is read elsewhere: browsers that do not know (width <= 560px) would lose the narrow page.
    "media-feature-range-notation": "prefix",
  },
};
