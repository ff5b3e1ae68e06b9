// Copyright (c) 2026 The luksmith developers
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The whole fleet at a glance: counts, shares, findings by rule, ages, phases.

import {
  chip,
  figure,
  h,
  report,
  SEVERITIES,
  SIGNS,
  STATES,
  svg,
  tone,
  trace,
  UNANSWERED,
  volumes,
  WORDS,
} from "./shared.js";
import { filter, setFilter } from "./filters.js";
import { openDetails } from "./details.js";

export const tiles = h("div", { class: "tiles" });
export const rules = h("div", { class: "scroll" });
// "yes" is good, and so is what the record says; the others need somebody.
const STORE = { yes: "compliant", "by record": "recorded", "not verified": "unverified" };
function storeTile(answer) {
  return h(
    "button",
    {
      type: "button",
      class: "tile t-" + (STORE[answer] || "findings"),
      "aria-pressed": String(filter.store === answer),
      onclick: () => setFilter({ store: filter.store === answer ? "" : answer }),
    },
    figure("totals.store." + answer, "b"),
    "The store opens the volume: " + answer,
  );
}
export function drawTiles() {
  tiles.replaceChildren(
    ...STATES.filter((state) => report.totals.states[state] || ["findings", "compliant", "done"].includes(state)).map(
      (state) =>
        h(
          "button",
          {
            type: "button",
            class: "tile t-" + state,
            "aria-pressed": String(filter.state === state),
            onclick: () => setFilter({ state: filter.state === state ? "" : state }),
          },
          figure("totals.states." + state, "b"),
          SIGNS[state] + " " + WORDS[state],
        ),
    ),
    ...Object.entries(report.totals.store || {})
      .filter(([answer, number]) => number || answer === "yes")
      .map(([answer]) => storeTile(answer)),
    ...(report.totals.hosts_without_answer
      ? [h("div", { class: "tile t-failed" }, figure("totals.hosts_without_answer", "b"), "! hosts without an answer")]
      : []),
    ...Object.entries(UNANSWERED)
      .map(([state, [sign, word]]) => [state, sign, word, (report.totals.hosts_by_state || {})[state]])
      .filter(([, , , number]) => number)
      .map(([state, sign, word]) =>
        h("div", { class: "tile t-" + state }, figure("totals.hosts_by_state." + state, "b"), sign + " hosts " + word),
      ),
  );
}
// Each volume a dot, in the order of the hosts; one path for each tone.
function fleetMap() {
  const across = Math.max(40, Math.ceil(Math.sqrt(volumes.length * 5))),
    down = Math.ceil(volumes.length / across),
    paths = {};
  volumes.forEach((volume, index) => {
    const name = tone(volume);
    paths[name] =
      (paths[name] || "") + "M" + (index % across) * 10 + " " + Math.floor(index / across) * 10 + "h8v8h-8z";
  });
  const image = svg("svg", {
    viewBox: "0 0 " + across * 10 + " " + down * 10,
    role: "img",
    preserveAspectRatio: "xMinYMin meet",
    "aria-label": "Every volume as a dot, in the order of the hosts; the table below has the same data",
  });
  for (const [name, shape] of Object.entries(paths)) {
    image.append(svg("path", { class: "t-" + name, d: shape }));
  }
  image.addEventListener("click", (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(image.getScreenCTM().inverse());
    const volume = volumes[Math.floor(point.y / 10) * across + Math.floor(point.x / 10)];
    if (volume) {
      openDetails(volume);
    }
  });
  return h("div", { class: "map" }, image);
}
export function share() {
  const groups = new Map();
  volumes.forEach((volume) => groups.set(tone(volume), (groups.get(tone(volume)) || 0) + 1));
  const order = [
    "failed",
    "partial",
    "refused",
    ...SEVERITIES,
    "findings",
    "unverified",
    "running",
    "waiting",
    "planned",
    "recorded",
    "compliant",
    "done",
    "unchanged",
  ].filter((name) => groups.has(name));
  const bar = h(
    "div",
    { class: "bar", role: "img", "aria-label": order.map((name) => groups.get(name) + " " + name).join(", ") },
    order.map((name) => {
      const part = h("i", { class: "t-" + name, title: groups.get(name) + " " + name });
      part.style.flex = groups.get(name);
      return part;
    }),
  );
  const legend = h(
    "div",
    { class: "legend" },
    order.map((name) =>
      h(
        "span",
        { class: "t-" + name },
        h("i", { class: "dot" }),
        (WORDS[name] || "worst finding " + name) + ": " + groups.get(name).toLocaleString("en"),
      ),
    ),
  );
  const box = h(
    "div",
    {},
    volumes.length > 60 ? fleetMap() : bar,
    legend,
    trace("hosts[].volumes[].state and worst, counted"),
  );
  return box;
}
function ruleGroups() {
  const groups = new Map();
  for (const [list, unverified] of [
    ["findings", false],
    ["unverified", true],
  ]) {
    for (const volume of volumes) {
      for (const one of volume[list]) {
        const key = one.rule + "|" + one.severity + "|" + unverified;
        if (!groups.has(key)) {
          groups.set(key, { rule: one.rule, severity: one.severity, unverified, example: one, volumes: new Set() });
        }
        groups.get(key).volumes.add(volume.number);
      }
    }
  }
  return [...groups.values()].sort(
    (one, other) =>
      one.unverified - other.unverified ||
      SEVERITIES.indexOf(one.severity) - SEVERITIES.indexOf(other.severity) ||
      other.volumes.size - one.volumes.size,
  );
}
export const groups = ruleGroups();
const NAMED = 3;
function hostsOf(group) {
  const names = [...new Set([...group.volumes].map((number) => volumes[number].host.host))];
  const rest = names.length - NAMED;
  return [
    names.slice(0, NAMED).join(", "),
    rest > 0
      ? h("details", {}, h("summary", {}, "and " + rest.toLocaleString("en") + " more"), names.slice(NAMED).join(", "))
      : null,
  ];
}
export function drawRules() {
  if (!groups.length) {
    rules.replaceChildren(h("p", { class: "soft" }, "Nothing was found, and nothing was left unverified."));
    return;
  }
  rules.replaceChildren(
    h(
      "table",
      { class: "list" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "Severity"),
          h("th", { scope: "col" }, "Rule"),
          h("th", { scope: "col" }, "For example"),
          h("th", { scope: "col" }, "Hosts"),
          h("th", { scope: "col", class: "number" }, "Volumes"),
        ),
      ),
      h(
        "tbody",
        {},
        groups.map((group) =>
          h(
            "tr",
            {},
            h(
              "td",
              { "data-name": "Severity" },
              chip(
                group.unverified ? "unverified" : group.severity,
                group.unverified,
                group.unverified ? "not verified" : group.severity,
              ),
            ),
            h(
              "td",
              { "data-name": "Rule" },
              h(
                "button",
                {
                  type: "button",
                  class: "rule",
                  "aria-pressed": String(filter.rule === group.rule),
                  onclick: () => setFilter({ rule: filter.rule === group.rule ? "" : group.rule }),
                },
                group.rule,
              ),
            ),
            h("td", { class: "small", "data-name": "For example" }, group.example.message),
            h("td", { "data-name": "Hosts", class: "small" }, hostsOf(group)),
            h("td", { class: "number", "data-name": "Volumes" }, group.volumes.size.toLocaleString("en")),
          ),
        ),
      ),
    ),
  );
}
export function ages() {
  const buckets = [
    ["up to 30 days", 30],
    ["31 to 90 days", 90],
    ["91 to 180 days", 180],
    ["181 to 365 days", 365],
    ["1 to 2 years", 730],
    ["over 2 years", Infinity],
  ].map(([name, most]) => ({ name, most, slots: 0 }));
  const unknown = { name: "no record", slots: 0 };
  for (const volume of volumes) {
    for (const row of volume.keyslots) {
      if (row.state === "inactive" || row.bound === false) {
        continue;
      }
      const known = typeof row.age_days === "number" && row.age_days >= 0;
      (known ? buckets.find((bucket) => row.age_days <= bucket.most) : unknown).slots += 1;
    }
  }
  const all = [...buckets, unknown],
    most = Math.max(1, ...all.map((bucket) => bucket.slots));
  return h(
    "div",
    { class: "ages", role: "list", "aria-label": "Keyslots by age of their secret" },
    all.map((bucket) => {
      const fill = h("i", {});
      fill.style.width = (100 * bucket.slots) / most + "%";
      if (!bucket.slots) {
        fill.style.display = "none";
      }
      if (bucket === unknown) {
        fill.style.background = "var(--idle)";
      }
      return [
        h("span", { class: "small", role: "listitem" }, bucket.name),
        h("span", { class: "track", "aria-hidden": "true" }, fill),
        h("span", { class: "number small" }, bucket.slots.toLocaleString("en")),
      ];
    }),
  );
}
export function phases() {
  const counts = new Map();
  volumes.forEach((volume) => {
    const name = volume.phase || WORDS[volume.state];
    counts.set(name, (counts.get(name) || 0) + 1);
  });
  const most = Math.max(1, ...counts.values());
  return h(
    "div",
    { class: "ages", role: "list", "aria-label": "Volumes by phase" },
    [...counts].map(([name, number]) => {
      const fill = h("i", {});
      fill.style.width = (100 * number) / most + "%";
      return [
        h("span", { class: "small", role: "listitem" }, name),
        h("span", { class: "track", "aria-hidden": "true" }, fill),
        h("span", { class: "number small" }, number.toLocaleString("en")),
      ];
    }),
  );
}
