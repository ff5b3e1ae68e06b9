// Copyright (c) 2026 The luksmith developers
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Each policy as sentences: what it requires, and where it differs from the ready one.

import { chip, h, many, report, trace, volumes } from "./shared.js";

const number = (value) => (typeof value === "number" ? value.toLocaleString("en") : String(value));
const listed = (value) => (Array.isArray(value) ? value.join(", ") : String(value));
const argon2 = (value) =>
  [value]
    .flat()
    .map((one) => number(one.time) + " passes over " + number(Math.round(one.memory / 1024)) + " MiB")
    .join(", or ");
// By key; the rest of the place, where the key has parts of its own.
const SENTENCES = {
  formats: (value) => "The header has one of these formats: " + listed(value) + ".",
  ciphers: (value) => "The data is encrypted with one of these: " + listed(value) + ".",
  keyslot_ciphers: (value) => "Keyslots are encrypted with one of these: " + listed(value) + ".",
  minimum_key_size: (value) => "The volume key has at least " + number(value) + " bytes.",
  minimum_keyslot_key_size: (value) => "Keyslots are encrypted with at least " + number(value) + " bytes.",
  kdf_types: (value) => "Keys are derived with one of these: " + listed(value) + ".",
  kdf_hashes: (value) => "Keyslots use one of these hashes: " + listed(value) + ".",
  "minimum_costs.pbkdf2": (value, hash) =>
    "PBKDF2 with " +
    (hash === "other" ? "a hash not named here" : hash) +
    " has at least " +
    number(value) +
    " iterations.",
  "minimum_costs.argon2": (value) => "Argon2 has at least " + argon2(value) + ".",
  "minimum_costs.tokens": (value, type) =>
    "The random key behind a token of type " + type + " needs " + number(value) + " iterations.",
  minimum_digest_iterations: (value) => "The digest of the volume key has at least " + number(value) + " iterations.",
  required_labels: (value) => "These secrets open the volume: " + listed(value) + ".",
  allowed_labels: (value) => "Besides, these secrets may open it: " + listed(value) + ".",
  token_types: (value) =>
    value.length ? "Tokens are of these types: " + listed(value) + "." : "No token unlocks a keyslot unattended.",
  retired_tang_keys: (value) => "No Clevis token trusts these retired keys: " + listed(value) + ".",
  maximum_age_days: (value) => "No secret is older than " + number(value) + " days.",
  try_empty_secret: (value) =>
    value ? "The empty secret opens nothing; it was tried." : "The empty secret is not tried.",
  require_backup: () => "A backup of the header is among those that were given.",
  recovery_labels: (value) => "One of these secrets opens the volume in an emergency: " + listed(value) + ".",
  opened_by_grub: () => "GRUB can open the volume.",
  shared_labels: (value) => "These secrets may open volumes of several hosts: " + listed(value) + ".",
  renewed_since: (value, name) => "Every secret was set after " + value + " (" + name + ").",
  expected: (value, name) => "The " + name + " of the header is " + value + ".",
  rules: (value, name) =>
    value === "off" ? "The rule " + name + " is switched off." : "The rule " + name + " counts as " + value + ".",
};
function sentence(place, value) {
  const key = Object.keys(SENTENCES).find((one) => place === one || place.startsWith(one + "."));
  return key ? SENTENCES[key](value, place.slice(key.length + 1)) : place + ": " + JSON.stringify(value);
}
const plain = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
function places(text, before) {
  return Object.entries(text).flatMap(([name, value]) =>
    plain(value) ? places(value, before + name + ".") : [[before + name, value]],
  );
}
function safely(place, value) {
  try {
    return sentence(place, value);
  } catch {
    return place + ": " + JSON.stringify(value);
  }
}
const was = (policy, place, ready) =>
  "In " +
  policy.extends +
  ": " +
  (ready !== null ? safely(place, ready) : place.startsWith("rules.") ? "it counts." : "nothing is required.");
function lines(policy) {
  const changed = new Map((policy.changes || []).map((one) => [one.place, one.ready]));
  const asks = places(policy.text || {}, "").map(([place, value]) => [place, safely(place, value)]);
  const dropped = (policy.changes || []).filter((one) => one.own === null);
  return [
    ...asks.map(([place, words]) =>
      h(
        "li",
        changed.has(place) ? { class: "changed" } : {},
        words,
        changed.has(place)
          ? [
              " ",
              chip("medium", true, "changed"),
              " ",
              h("span", { class: "soft" }, was(policy, place, changed.get(place))),
            ]
          : null,
      ),
    ),
    ...dropped.map((one) =>
      h(
        "li",
        { class: "changed" },
        one.place + " requires nothing. ",
        chip("medium", true, "changed"),
        " ",
        h("span", { class: "soft" }, was(policy, one.place, one.ready)),
      ),
    ),
    ...Object.entries(policy.accepted || {}).map(([rule, reason]) =>
      h("li", { class: "changed" }, "Findings of " + rule + " are accepted, because: " + reason + "."),
    ),
  ];
}
export function policies() {
  const known = new Map(report.hosts.flatMap((host) => Object.entries(host.policies)));
  if (!known.size) {
    return null;
  }
  const used = (digest) => volumes.filter((one) => one.audited && one.audited.policy_digest === digest).length;
  return h(
    "section",
    { class: "card", id: "policies" },
    h("h2", {}, known.size === 1 ? "The policy in words" : "The policies in words"),
    [...known]
      .filter(([, policy]) => plain(policy))
      .map(([digest, policy]) =>
        h(
          "div",
          { class: "policy" },
          h("h3", {}, policy.name + ", for " + many(used(digest), "volume")),
          h("ul", {}, lines(policy)),
          h("p", { class: "soft small names" }, "Digest of its text: " + digest),
        ),
      ),
    trace("hosts[].policies, hosts[].volumes[].audited.policy_digest"),
  );
}
