// Copyright (c) 2026 The luksmith developers
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What is different in print: there are no buttons there, so that everything is written out.

import { h, volumes } from "./shared.js";
import { view } from "./filters.js";
import { evidence, findingList } from "./details.js";
import { drawVolumes } from "./volumes.js";

export const paper = h("section", { class: "card only-print" });
function drawPaper() {
  const found = volumes.filter((volume) => volume.findings.length || volume.unverified.length || volume.msg);
  paper.replaceChildren(
    h("h2", {}, "All findings, with what to do"),
    ...found.map((volume) =>
      h(
        "div",
        {},
        h("h3", {}, volume.host.host + "  " + volume.device),
        volume.msg ? h("p", { class: "note" }, volume.msg) : null,
        findingList(volume.findings, false),
        findingList(volume.unverified, true),
        h(
          "p",
          { class: "trace" },
          evidence(volume)
            .map(([name, value]) => name + ": " + value)
            .join("; "),
        ),
      ),
    ),
  );
}
let closed = [];
window.addEventListener("beforeprint", () => {
  view.printing = true;
  drawVolumes();
  drawPaper();
  closed = [...document.querySelectorAll("main details:not([open])")];
  closed.forEach((one) => one.setAttribute("open", ""));
});
window.addEventListener("afterprint", () => {
  view.printing = false;
  drawVolumes();
  paper.replaceChildren();
  closed.forEach((one) => one.removeAttribute("open"));
});
