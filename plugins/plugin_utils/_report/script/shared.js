// Copyright (c) 2026 The luksmith developers
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What all parts of it use: the data, the words for it, and the making of elements.

export const report = JSON.parse(document.getElementById("report").textContent);
export const rotation = report.kind === "rotation";
export const SEVERITIES = ["critical", "high", "medium", "low", "info"];
export const STATES = Object.keys(report.totals.states);
export const WORDS = {
  failed: "failed",
  findings: "findings",
  unverified: "not verified",
  recorded: "by record",
  compliant: "compliant",
  partial: "partly done",
  refused: "refused",
  running: "running",
  waiting: "waiting",
  planned: "would change",
  done: "done",
  unchanged: "nothing to do",
};
export const SIGNS = {
  failed: "!",
  findings: "\u2717",
  unverified: "?",
  recorded: "\u25d0",
  compliant: "\u2713",
  partial: "!",
  refused: "\u2717",
  running: "\u2026",
  waiting: "\u25cb",
  planned: "\u2192",
  done: "\u2713",
  unchanged: "=",
};
// Hosts of a rotation that have not answered.
export const UNANSWERED = {
  asking: ["\u2026", "under way", "The host is under way, or was when the run was killed."],
  interrupted: [
    "!",
    "interrupted",
    "The run was interrupted while the host was under way. The next run goes on with it.",
  ],
  waiting: ["\u25cb", "not reached yet", "The host was not reached yet."],
  beyond: ["\u2013", "beyond --limit", "The host is beyond --limit and was not asked."],
};
// Hosts on one page of the screen; volumes from which on paper shows only those with something to say.
export const PAGE = 50;
export const PAPER = 200;
const SVG = "http://www.w3.org/2000/svg";

export const volumes = [];
report.hosts.forEach((host) =>
  host.volumes.forEach((volume) => {
    volume.host = host;
    volume.number = volumes.length;
    volumes.push(volume);
  }),
);

export function add(parent, children) {
  for (const child of children.flat(9)) {
    if (child !== null && child !== undefined && child !== false) {
      parent.append(child instanceof Node ? child : String(child));
    }
  }
  return parent;
}
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) {
      continue;
    }
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value);
    } else {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  return add(element, children);
}
export function svg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  return element;
}
// Where a figure comes from, so that somebody can check it: the file and the member in it.
export const trace = (place) =>
  h("p", { class: "trace" }, "From " + ((report.files || {}).json || "the JSON of this report") + ": " + place);
export const figure = (place, tag) =>
  h(
    tag || "span",
    { "data-figure": place },
    place
      .split(".")
      .reduce((value, name) => value[name], report)
      .toLocaleString("en"),
  );
export const many = (count, noun) => count.toLocaleString("en") + " " + noun + (count === 1 ? "" : "s");
export const tone = (volume) => (volume.state === "findings" && volume.worst ? volume.worst : volume.state);
export const chip = (word, quiet, text) =>
  h("span", { class: "chip t-" + word + (quiet ? " quiet" : "") }, text || word);
