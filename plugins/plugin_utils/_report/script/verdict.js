// Copyright (c) 2026 The luksmith developers
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The verdict, and what the report covers: hosts and volumes that were asked for, seen, and left out.

import { chip, figure, h, many, report, rotation, SEVERITIES, trace, UNANSWERED } from "./shared.js";

const RUNS = {
  failed: ["failed", "failed in part", "A volume failed or was refused, or a host gave no answer."],
  incomplete: ["waiting", "not at its end", "The run is under way, or was stopped."],
  planned: ["planned", "planned", "Every host has answered. No volume and no store was changed."],
  done: ["done", "done", "Every host has answered, and no volume was refused."],
};
const totals = report.totals;
// The words are those of the JSON; the tone of "not compliant" is that of the worst finding.
const VERDICT_TONES = {
  "not all was seen": "failed",
  "nothing was seen": "failed",
  "not proven": "unverified",
  "compliant by record": "recorded",
  "compliant, as far as audited": "recorded",
  compliant: "compliant",
};
function auditVerdict() {
  const { word, about, limits } = report.verdict;
  const worst = SEVERITIES.find((severity) => totals.findings[severity]);
  const bounds = limits.join(", ");
  const tone = VERDICT_TONES[word] || worst || "failed";
  return word.startsWith("compliant") && bounds
    ? [tone, word + ": " + bounds, about]
    : [tone, word, bounds ? about + " Not everything was audited: " + bounds + "." : about];
}
export function verdict() {
  if (!report.run && !report.verdict) {
    return null; // a rotation of which the run is not known
  }
  const [tone, word, about] = report.run ? RUNS[report.run.verdict] : auditVerdict();
  const gaps = [
    totals.hosts_without_answer
      ? many(totals.hosts_without_answer, "host") + " gave no answer, or not a whole one."
      : "",
    totals.states.failed ? many(totals.states.failed, "volume") + " failed." : "",
    report.scope && report.scope.beyond.length
      ? many(report.scope.beyond.length, "host") + " of the play beyond --limit."
      : "",
  ];
  return h(
    "section",
    { class: "card verdict t-" + tone, id: "verdict" },
    h("h2", {}, "Verdict"),
    h("p", {}, chip(tone, false, word), " ", about, ...gaps.filter(Boolean).map((gap) => " " + gap)),
    trace(report.run ? "run.verdict" : "verdict, totals"),
  );
}

const LISTED = 5;
function list(title, items) {
  if (!items.length) {
    return null;
  }
  const lines = (some) =>
    h(
      "ul",
      { class: "names small" },
      some.map((item) => h("li", {}, item)),
    );
  return [
    h("h3", {}, title),
    lines(items.slice(0, LISTED)),
    items.length > LISTED
      ? h(
          "details",
          {},
          h("summary", {}, (items.length - LISTED).toLocaleString("en") + " more"),
          lines(items.slice(LISTED)),
        )
      : null,
  ];
}
function whereOf(one) {
  return [
    one.volumes.length ? "only these volumes: " + one.volumes.join(", ") : "",
    one.volumes.length ? "" : one.block_devices ? "block devices" : "no block devices",
    one.paths.length ? "patterns " + one.paths.join(", ") : "",
    one.unmatched.length ? "nothing was found for " + one.unmatched.join(", ") : "",
  ]
    .filter(Boolean)
    .join("; ");
}
// Hosts that were searched in the same way are one line.
function searched() {
  const groups = new Map();
  for (const host of report.hosts) {
    if (host.searched) {
      const where = whereOf(host.searched);
      groups.set(where, [...(groups.get(where) || []), host.host]);
    }
  }
  return [...groups].map(([where, names]) => names.join(", ") + ": " + where);
}
export function scope() {
  const known = report.scope;
  const excluded = report.hosts.flatMap((host) =>
    host.excluded.map((one) => host.host + " " + one.volume + ": " + one.reason),
  );
  const without = report.hosts.filter((host) => !host.volumes.length && !host.error).map((host) => host.host);
  const facts = [
    ...(known
      ? [
          ["Hosts in the inventory", "scope.inventory"],
          ["Hosts of the play", "scope.targets"],
          ["Hosts beyond --limit", "scope.beyond.length"],
        ]
      : []),
    ["Hosts in this report", "totals.hosts"],
    // Those that are lost are the ones without an answer, which an audit has, too.
    ...Object.keys(totals.hosts_by_state || {})
      .filter((state) => state !== "lost")
      .map((state) => [
        "Hosts " + (UNANSWERED[state] ? UNANSWERED[state][1] : state),
        "totals.hosts_by_state." + state,
      ]),
    ["Hosts without an answer", "totals.hosts_without_answer"],
    ["Volumes", "totals.volumes"],
  ];
  return h(
    "section",
    { class: "card", id: "scope" },
    h("h2", {}, "What this report covers"),
    h(
      "dl",
      { class: "facts narrow" },
      facts.map(([name, place]) => h("div", {}, h("dt", {}, name), h("dd", {}, figure(place)))),
      h("div", {}, h("dt", {}, "Excluded volumes"), h("dd", {}, excluded.length.toLocaleString("en"))),
    ),
    known || rotation ? null : h("p", { class: "soft small" }, "The inventory is not known to this report."),
    list(
      "Without an answer, or not audited as a whole",
      report.hosts.filter((host) => host.error).map((host) => host.host + ": " + host.error),
    ),
    known ? list("Beyond --limit", known.beyond) : null,
    list("Excluded, with the reason that was given", excluded),
    list("Without a volume", rotation ? [] : without),
    list("Where volumes were looked for", searched()),
    trace((known ? "scope, " : "") + "totals, hosts[].error, hosts[].excluded, hosts[].searched"),
  );
}
