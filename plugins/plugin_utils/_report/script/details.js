// Copyright (c) 2026 The luksmith developers
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// One volume in full, in a dialog.

import { add, chip, h, SIGNS, WORDS } from "./shared.js";

function cost(kdf) {
  if (!kdf || !kdf.type) {
    return "";
  }
  if (kdf.type === "pbkdf2") {
    return kdf.type + ", " + kdf.hash + ", " + Number(kdf.iterations).toLocaleString("en") + " iterations";
  }
  if (kdf.time === undefined) {
    return kdf.type;
  }
  const memory =
    typeof kdf.memory === "number"
      ? kdf.memory >= 1024
        ? Math.round(kdf.memory / 1024) + " MiB"
        : kdf.memory + " KiB"
      : kdf.memory;
  return kdf.type + ", " + kdf.time + " passes, " + memory + ", " + kdf.parallel + " lanes";
}
function slotTable(rows, title) {
  return [
    h("h3", {}, title),
    h(
      "div",
      { class: "scroll" },
      h(
        "table",
        { class: "list" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["Slot", "Opened by", "Key derivation", "Priority", "Tokens", "Changed"].map((name) =>
              h("th", { scope: "col" }, name),
            ),
          ),
        ),
        h(
          "tbody",
          {},
          rows
            .filter((row) => row.state !== "inactive")
            .map((row) =>
              h(
                "tr",
                {},
                h("td", { "data-name": "Slot" }, row.keyslot, row.mark ? [" ", chip(row.mark)] : null),
                h(
                  "td",
                  { "data-name": "Opened by" },
                  row.opened_by.length
                    ? row.opened_by.join(", ") + (row.recorded ? " (by record)" : "")
                    : h(
                        "span",
                        { class: "soft" },
                        row.tried === false ? "not tried" + (row.reason ? ": " + row.reason : "") : "nobody known",
                      ),
                  row.bound === false ? " (unbound)" : "",
                ),
                h("td", { class: "small", "data-name": "Key derivation" }, cost(row.kdf)),
                h("td", { "data-name": "Priority" }, row.priority || ""),
                h("td", { "data-name": "Tokens" }, row.tokens.join(", ")),
                h(
                  "td",
                  { class: "small", "data-name": "Changed" },
                  row.changed ? row.changed.slice(0, 10) + " (" + row.age_days + " days)" : "",
                ),
              ),
            ),
        ),
      ),
    ),
  ];
}
function storeAnswer(store) {
  return (
    store &&
    store.opens +
      (store.keyslots.length ? " (" + store.secret + ", keyslot " + store.keyslots.join(", ") + ")" : "") +
      (store.older.length ? "; so do older ones: " + store.older.join(", ") : "")
  );
}
export function findingList(list, unverified) {
  return list.map((one) =>
    h(
      "div",
      { class: "finding t-" + (unverified ? "unverified" : one.severity) },
      h(
        "div",
        {},
        chip(unverified ? "unverified" : one.severity, unverified, unverified ? "not verified" : one.severity),
        " ",
        one.message,
      ),
      h("div", { class: "remedy small" }, one.remedy, " ", h("span", { class: "soft" }, "(" + one.rule + ")")),
    ),
  );
}
function steps(list, title) {
  return list && list.length
    ? [
        h("h3", {}, title),
        h(
          "ol",
          { class: "steps" },
          list.map((one) =>
            h(
              "li",
              {},
              one.action +
                (one.keyslot === undefined || one.keyslot === null ? "" : " keyslot " + one.keyslot) +
                (one.label ? " (" + one.label + ")" : "") +
                (one.reason ? ": " + one.reason : ""),
            ),
          ),
        ),
      ]
    : null;
}
function policyText(volume) {
  const policy = volume.audited && (volume.host.policies || {})[volume.audited.policy_digest];
  return policy
    ? h("details", {}, h("summary", {}, "The whole policy"), h("pre", {}, JSON.stringify(policy, null, 2)))
    : null;
}
const unknownSlot = (row) =>
  "keyslot " +
  row.keyslot +
  (row.label ? " (by the record: " + row.label + ")" : "") +
  (row.tried ? "" : " (not tried" + (row.reason ? ": " + row.reason : "") + ")");
const known = (facts) => facts.filter(([, value]) => value !== undefined && value !== "" && value !== null);
/** What is needed to repeat the audit of a volume, as pairs of a name and a value. */
export function evidence(volume) {
  const audited = volume.audited || {};
  return known([
    ["uuid", volume.uuid],
    ["Policy digest", audited.policy_digest],
    ["Header digest", volume.fingerprint],
    ["Audited", [audited.time, audited.tool].filter(Boolean).join(", ")],
    ["Secrets tried", (audited.labels || []).join(", ")],
    ["The store opens the volume", storeAnswer(volume.store)],
  ]);
}
function fileBeneath(file) {
  const opened = file.opened_by.length ? "opens with " + file.opened_by.join(", ") : "opened by nothing tried",
    says = file.role === "data" ? "" : file.encrypted === false ? "not encrypted" : opened;
  return [file.role + " " + file.path, says, file.why_untried ? "not tried: " + file.why_untried : ""]
    .filter(Boolean)
    .join(", ");
}
export const details = document.getElementById("details");
details.setAttribute("aria-labelledby", "details-title");
export function openDetails(volume) {
  const facts = known([
    ["Host", volume.host.host],
    ["Detached header", volume.header],
    ["Format", [volume.type, volume.container].filter(Boolean).join(", ")],
    ["Label", volume.label],
    ["Cipher", volume.cipher],
    ["Volume key", volume.key_size ? volume.key_size + " bytes" : ""],
    ["Policy", volume.policy],
    ...evidence(volume),
    ["Phase", volume.phase],
    ["Keys derived", volume.kdf_evaluations],
    ["Secrets of this run", (volume.secrets || []).join(", ")],
    ["Proven to open nothing", (volume.closed || []).join(", ")],
    ["Beneath it", (volume.chain || []).map(fileBeneath).join("; ")],
    ["Opened by no known secret", (volume.unknown || []).map(unknownSlot).join(", ")],
  ]);
  details.replaceChildren(
    ...add(document.createDocumentFragment(), [
      h(
        "div",
        { class: "head" },
        h(
          "div",
          {},
          h("h2", { id: "details-title" }, volume.device),
          h("p", {}, chip(volume.state, false, SIGNS[volume.state] + " " + WORDS[volume.state])),
        ),
        h("button", { type: "button", onclick: () => details.close() }, "Close"),
      ),
      h(
        "dl",
        { class: "facts" },
        facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
      ),
      volume.msg ? h("p", { class: "note" }, volume.msg) : null,
      volume.findings.length ? [h("h3", {}, "Findings"), findingList(volume.findings, false)] : null,
      volume.unverified.length ? [h("h3", {}, "Not verified"), findingList(volume.unverified, true)] : null,
      policyText(volume),
      steps(volume.plan, "Plan"),
      steps(volume.actions_done, "Done"),
      steps(volume.actions_left, "Left to do"),
      volume.before
        ? [slotTable(volume.before, "Keyslots before"), slotTable(volume.after || volume.keyslots, "Keyslots after")]
        : volume.keyslots.length
          ? slotTable(volume.keyslots, "Keyslots")
          : null,
    ]).childNodes,
  );
  details.showModal();
}
details.addEventListener("click", (event) => {
  if (event.target === details) {
    details.close();
  }
});
