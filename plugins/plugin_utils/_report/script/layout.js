// Copyright (c) 2026 The luksmith developers
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The parts in their places, keys and buttons for the whole page.

import { add, h, rotation, SEVERITIES, trace, volumes } from "./shared.js";
import { slotLegend } from "./slots.js";
import { search, setFilter, whenFiltered } from "./filters.js";
import { details, openDetails } from "./details.js";
import { ages, drawRules, drawTiles, groups, phases, rules, share, tiles } from "./overview.js";
import { scope, verdict } from "./verdict.js";
import { runFacts } from "./run.js";
import { sinceLast } from "./since.js";
import { policies } from "./policies.js";
import { count, drawVolumes, matrix, pager, paperNote } from "./volumes.js";
import { paper } from "./paper.js";

const main = document.getElementById("main");
add(main, [
  verdict(),
  sinceLast(),
  tiles,
  scope(),
  runFacts(),
  rotation && !groups.length
    ? null
    : h(
        "section",
        { class: "card", id: "rules" },
        h("h2", {}, "Findings by rule"),
        rules,
        trace("hosts[].volumes[].findings and unverified, counted"),
      ),
  h(
    "div",
    { class: "columns" },
    h(
      "section",
      { class: "card" },
      h("h2", {}, volumes.length > 60 ? "The fleet at a glance" : "Share of the volumes"),
      share(),
    ),
    h(
      "section",
      { class: "card" },
      rotation
        ? [h("h2", {}, "Progress"), phases(), trace("hosts[].volumes[].phase, counted")]
        : [
            h("h2", {}, "Age of secrets"),
            h(
              "p",
              { class: "soft small" },
              "Keyslots by the time since their last change, as the header or the store says.",
            ),
            ages(),
            trace("hosts[].volumes[].keyslots[].age_days, counted"),
          ],
    ),
  ),
  policies(),
  h(
    "section",
    { class: "card", id: "volumes", tabindex: "-1" },
    h("h2", {}, rotation ? "Volumes, before and after" : "Hosts and volumes"),
    h(
      "div",
      { class: "tools" },
      search,
      h(
        "select",
        { "aria-label": "Severity", id: "severity", onchange: (event) => setFilter({ severity: event.target.value }) },
        h("option", { value: "" }, "any severity"),
        SEVERITIES.map((severity) => h("option", { value: severity }, severity)),
      ),
      h(
        "select",
        { "aria-label": "Order", id: "order", onchange: (event) => setFilter({ sort: event.target.value }) },
        h("option", { value: "worst" }, "worst first"),
        h("option", { value: "name" }, "by name"),
      ),
      h(
        "button",
        {
          type: "button",
          id: "reset",
          onclick: () => {
            search.value = "";
            document.getElementById("severity").value = "";
            setFilter({ text: "", state: "", store: "", severity: "", rule: "" });
          },
        },
        "Show all",
      ),
      count,
    ),
    paperNote,
    matrix,
    pager,
    slotLegend(),
  ),
  paper,
]);
for (const draw of [drawTiles, drawRules, drawVolumes]) {
  whenFiltered(draw);
  draw();
}

const root = document.documentElement,
  dark = matchMedia("(prefers-color-scheme: dark)");
root.dataset.theme = dark.matches ? "dark" : "light";
dark.addEventListener("change", () => {
  root.dataset.theme = dark.matches ? "dark" : "light";
});
document.getElementById("theme").addEventListener("click", () => {
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
});
document.getElementById("print").addEventListener("click", () => window.print());
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !details.open && event.target === document.body) {
    event.preventDefault();
    search.focus();
  }
});
function followHash() {
  const wanted = /^#volume-(\d+)$/.exec(location.hash);
  if (wanted && volumes[Number(wanted[1])]) {
    openDetails(volumes[Number(wanted[1])]);
  }
}
window.addEventListener("hashchange", followHash);
followHash();
