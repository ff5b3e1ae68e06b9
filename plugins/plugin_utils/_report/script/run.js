// Copyright (c) 2026 The luksmith developers
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The run as a whole: whether it was a dry one, who started it, where, with what.

import { h, report, trace } from "./shared.js";

export function runFacts() {
  const run = report.run;
  if (!run) {
    return null;
  }
  const facts = [
    ["Begun", run.began],
    ["Ended", run.ended || "not yet, or the run was stopped"],
    ["By", run.who],
    ["On the controller", run.controller],
    [
      "Versions",
      Object.entries(run.versions)
        .map((pair) => pair.join(" "))
        .join(", "),
    ],
    ["Store", run.store],
    ...Object.entries(run.options),
    ["Differs between hosts", run.differ.join(", ")],
  ].filter(([, value]) => value);
  return h(
    "section",
    { class: "card", id: "run" },
    h("h2", {}, run.check ? "Dry run: no volume and no store was changed" : "This run"),
    h(
      "dl",
      { class: "facts" },
      facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
    ),
    trace("run"),
  );
}
