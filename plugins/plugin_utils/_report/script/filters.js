// Copyright (c) 2026 The luksmith developers
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Which hosts and volumes are shown, and in which order.

import { h, report, SEVERITIES, STATES } from "./shared.js";

export const filter = { text: "", state: "", store: "", severity: "", rule: "", sort: "worst" };
// Which page of hosts is shown, and whether it goes to a printer.
export const view = { page: 0, printing: false };
const drawings = [];

function searchText(volume) {
  if (volume.haystack === undefined) {
    const rows = [...volume.keyslots, ...(volume.before || []), ...(volume.after || [])];
    volume.haystack = [
      volume.host.host,
      volume.device,
      volume.header,
      volume.uuid,
      volume.label,
      volume.type,
      volume.cipher,
      volume.policy,
      volume.state,
      volume.phase,
      rows.map((row) => [row.opened_by, row.tokens, row.kdf && row.kdf.type].flat()),
      volume.findings.map((one) => one.rule + " " + one.message),
    ]
      .flat(4)
      .filter(Boolean)
      .join("\n")
      .toLowerCase();
  }
  return volume.haystack;
}
function matches(volume) {
  if (filter.state && volume.state !== filter.state) {
    return false;
  }
  if (filter.store && (volume.store || {}).opens !== filter.store) {
    return false;
  }
  if (filter.severity && !volume.findings.some((one) => one.severity === filter.severity)) {
    return false;
  }
  if (filter.rule && ![...volume.findings, ...volume.unverified].some((one) => one.rule === filter.rule)) {
    return false;
  }
  return filter.text.split(/\s+/).every((word) => searchText(volume).includes(word));
}
const filtering = () => Boolean(filter.text || filter.state || filter.store || filter.severity || filter.rule);
function rank(volume) {
  return STATES.indexOf(volume.state) * 10 + (volume.worst ? SEVERITIES.indexOf(volume.worst) : 9);
}
export function chosenHosts() {
  const chosen = [];
  for (const host of report.hosts) {
    const found = filtering() ? host.volumes.filter(matches) : [...host.volumes];
    if (filter.sort === "worst") {
      found.sort((one, other) => rank(one) - rank(other) || one.number - other.number);
    }
    if (
      found.length ||
      !filtering() ||
      (filter.text &&
        host.host.toLowerCase().includes(filter.text) &&
        !filter.state &&
        !filter.store &&
        !filter.severity &&
        !filter.rule)
    ) {
      chosen.push({ host, volumes: found, rank: host.error ? -1 : Math.min(1e6, ...found.map(rank)) });
    }
  }
  if (filter.sort === "worst") {
    chosen.sort(
      (one, other) =>
        one.rank - other.rank ||
        other.volumes.length - one.volumes.length ||
        (one.host.host < other.host.host ? -1 : 1),
    );
  }
  return chosen;
}
// The parts below this one say what is to be drawn anew.
export function whenFiltered(draw) {
  drawings.push(draw);
}
export function setFilter(changes) {
  Object.assign(filter, changes);
  view.page = 0;
  drawings.forEach((draw) => draw());
}
export const search = h("input", {
  type: "search",
  id: "search",
  placeholder: "Search host, device, uuid, label, rule\u2026  ( / )",
  "aria-label": "Search",
  oninput: (event) => setFilter({ text: event.target.value.trim().toLowerCase() }),
});
