// Copyright (c) 2026 The luksmith developers
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What changed since the last report.

import { chip, h, many, report, trace, WORDS } from "./shared.js";

// What somebody must look at comes first.
const TONES = { worse: "high", new: "info", gone: "waiting", changed: "recorded", better: "compliant" };
const ORDER = Object.keys(TONES);
const SHOWN = 5;

const rule = (one) =>
  one.rule +
  " (" +
  (one.unverified ? "not verified" : one.severity) +
  (one.keyslot === null ? "" : ", keyslot " + one.keyslot) +
  ")";
function said(one) {
  return [
    one.was && one.is && one.was !== one.is ? WORDS[one.was] + " \u2192 " + WORDS[one.is] : "",
    ...one.notes,
    one.appeared.length ? "appeared: " + one.appeared.map(rule).join(", ") : "",
    one.went.length ? "went: " + one.went.map(rule).join(", ") : "",
  ]
    .filter(Boolean)
    .join("; ");
}
function row(one) {
  return h(
    "tr",
    {},
    h("td", { "data-name": "Change" }, chip(TONES[one.change], false, one.change)),
    h("td", { "data-name": "Host" }, one.host),
    h("td", { "data-name": "Volume", class: "path" }, one.device + (one.header ? " (" + one.header + ")" : "")),
    h("td", { "data-name": "What", class: "small" }, said(one)),
  );
}
function table(list) {
  return h(
    "table",
    { class: "list" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        ["Change", "Host", "Volume", "What"].map((name) => h("th", { scope: "col" }, name)),
      ),
    ),
    h("tbody", {}, list.map(row)),
  );
}
function hosts(names, words) {
  return names.length
    ? h("p", { class: "small names" }, h("b", {}, many(names.length, "host") + " " + words + ": "), names.join(", "))
    : null;
}
function changes(since) {
  const list = [...since.volumes].sort((one, other) => ORDER.indexOf(one.change) - ORDER.indexOf(other.change));
  return [
    h(
      "p",
      {},
      ORDER.filter((change) => since.counts[change]).map((change) => [
        chip(TONES[change], false, since.counts[change].toLocaleString("en") + " " + change),
        " ",
      ]),
      list.length ? "" : "Nothing changed. ",
      h("span", { class: "soft" }, many(since.compared, "volume") + " that both reports saw."),
    ),
    hosts(since.lost, "answered then and not now"),
    hosts(since.back, "answered now and not then"),
    hosts(since.not_compared, "not compared, because not both reports have an answer"),
    list.length ? h("div", { class: "scroll" }, table(list.slice(0, SHOWN))) : null,
    list.length > SHOWN
      ? h("details", {}, h("summary", {}, many(list.length - SHOWN, "more change")), table(list.slice(SHOWN)))
      : null,
  ];
}
export function sinceLast() {
  const since = report.since;
  if (!since || since.first) {
    return null;
  }
  const when = since.generated ? " of " + since.generated : "";
  return h(
    "section",
    { class: "card", id: "since" },
    h("h2", {}, "Since the last report" + when + (since.check ? ", a dry run" : "")),
    since.problem ? h("p", { class: "note" }, since.problem) : changes(since),
    trace("since"),
  );
}
