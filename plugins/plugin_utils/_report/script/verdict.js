// Copyright (c) 2026 The luksmith developers
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The verdict, and what the report covers: hosts and volumes that were asked for, seen, and left out.

import { chip, figure, h, many, report, rotation, trace, UNANSWERED } from "./shared.js";

const RUNS = {
  failed: ["failed", "failed in part", "Somebody must look at what is red."],
  incomplete: ["waiting", "not at its end", "The run is under way, or was stopped."],
  planned: ["planned", "planned", "Every host has answered. No volume and no store was changed."],
  done: ["done", "done", "Every host has answered, and no volume was refused."],
};
const totals = report.totals;
function auditVerdict() {
  const { states, volumes, unverified, findings } = totals;
  const worst = Object.keys(findings).find((severity) => findings[severity]);
  if (states.findings) {
    return [
      worst,
      "not compliant",
      many(states.findings, "volume") +
        " of " +
        volumes.toLocaleString("en") +
        " with findings; the worst is " +
        worst +
        ".",
    ];
  }
  if (states.failed || totals.hosts_without_answer) {
    return ["failed", "not all was seen", "Nothing bad was found in what could be read."];
  }
  if (!volumes) {
    return ["failed", "nothing was seen", "No volume was audited."];
  }
  if (unverified) {
    return ["unverified", "not proven", "No finding, but " + many(unverified, "thing") + " could not be verified."];
  }
  return states.recorded
    ? [
        "recorded",
        "compliant by record",
        many(states.recorded, "volume") + " only as far as the header says, which proves nothing.",
      ]
    : ["compliant", "compliant", "No finding on any volume that was seen, and nothing was left unverified."];
}
export function verdict() {
  const [tone, word, about] = report.run ? RUNS[report.run.verdict] : auditVerdict();
  const gaps = [
    totals.hosts_without_answer ? many(totals.hosts_without_answer, "host") + " gave no answer." : "",
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
    trace(report.run ? "run.verdict" : "totals"),
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
export function scope() {
  const known = report.scope;
  const excluded = report.hosts.flatMap((host) =>
    host.excluded.map((one) => host.host + " " + one.volume + ": " + one.reason),
  );
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
      "Without an answer",
      report.hosts.filter((host) => host.error).map((host) => host.host + ": " + host.error),
    ),
    known ? list("Beyond --limit", known.beyond) : null,
    list("Excluded, with the reason that was given", excluded),
    trace((known ? "scope, " : "") + "totals, hosts[].error, hosts[].excluded"),
  );
}
