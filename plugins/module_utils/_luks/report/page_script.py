# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What the report page does. A Python file, because Ansible carries nothing else to where a module runs.

All text reaches the page by ``textContent`` or attributes of fixed names; nothing is ever parsed as HTML. Only one page of hosts is
in the document at a time, so that 3,000 volumes are as quick as 3.
"""

from __future__ import annotations

SCRIPT = r"""
"use strict";
(() => {
  const started = performance.now();
  const report = JSON.parse(document.getElementById("report").textContent);
  const rotation = report.kind === "rotation";
  const SEVERITIES = ["critical", "high", "medium", "low", "info"];
  const STATES = Object.keys(report.totals.states);
  const WORDS = {
    failed: "failed",
    findings: "findings",
    unverified: "not verified",
    recorded: "by record",
    compliant: "compliant",
    partial: "partly done",
    refused: "refused",
    running: "running",
    waiting: "waiting",
    done: "done",
    unchanged: "nothing to do",
  };
  const SIGNS = {
    failed: "!",
    findings: "\u2717",
    unverified: "?",
    recorded: "\u25d0",
    compliant: "\u2713",
    partial: "!",
    refused: "\u2717",
    running: "\u2026",
    waiting: "\u25cb",
    done: "\u2713",
    unchanged: "=",
  };
  const PAGE = 50,
    PAPER = 200;
  const SVG = "http://www.w3.org/2000/svg";

  const volumes = [];
  report.hosts.forEach((host) =>
    host.volumes.forEach((volume) => {
      volume.host = host;
      volume.number = volumes.length;
      volumes.push(volume);
    }),
  );
  const filter = { text: "", state: "", severity: "", rule: "", sort: "worst" };
  let page = 0,
    printing = false;

  // Elements and pictures

  function add(parent, children) {
    for (const child of children.flat(9)) {
      if (child !== null && child !== undefined && child !== false) parent.append(child instanceof Node ? child : String(child));
    }
    return parent;
  }
  function h(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : value);
    }
    return add(element, children);
  }
  function svg(tag, attributes) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }
  const many = (count, noun) => count.toLocaleString("en") + " " + noun + (count === 1 ? "" : "s");
  const tone = (volume) => (volume.state === "findings" && volume.worst ? volume.worst : volume.state);
  const chip = (word, quiet, text) => h("span", { class: "chip t-" + word + (quiet ? " quiet" : "") }, text || word);

  function kindOf(row) {
    if (!row || row.state === "inactive") return "free";
    if (row.bound === false) return "unbound";
    if ((row.opened_by || []).includes("(empty)")) return "unknown";
    if ((row.opened_by || []).length) return row.priority === "ignore" ? "ignored" : row.recorded ? "recorded" : "known";
    return row.tried === false ? "untried" : "unknown";
  }
  function sayRow(row) {
    const what = {
      free: "free",
      unbound: "unbound",
      unknown: "opened by nobody known",
      untried: "not tried",
      ignored: "ignored at boot, opened by ",
      recorded: "by the record opened by ",
      known: "opened by ",
    }[kindOf(row)];
    return row.keyslot + ": " + what + (what.endsWith(" by ") ? row.opened_by.join(", ") : "");
  }
  function countSlots(volume, rows) {
    const highest = rows.reduce((most, row) => Math.max(most, row.keyslot + 1), 0);
    return Math.min(64, Math.max(volume.slot_count || (volume.type === "luks1" ? 8 : volume.type === "luks2" ? 32 : 0), highest));
  }
  // One path for each kind of slot: the number of elements does not grow with the number of slots.
  function picture(volume, rows, moved) {
    const count = countSlots(volume, rows),
      across = count > 8 ? 16 : 8,
      step = 13,
      size = 9;
    if (!count || (!rows.length && volume.state === "failed")) return h("span", { class: "soft small" }, "no keyslots to show");
    const paths = {},
      put = (name, shape) => {
        paths[name] = (paths[name] || "") + shape;
      };
    const bySlot = new Map(rows.map((row) => [row.keyslot, row]));
    for (let number = 0; number < count; number += 1) {
      const row = bySlot.get(number),
        x = 2 + (number % across) * step,
        y = 2 + Math.floor(number / across) * step,
        kind = kindOf(row);
      const square = "M" + x + " " + y + "h" + size + "v" + size + "h-" + size + "z";
      const inner = "M" + (x + 1) + " " + (y + 1) + "h7v7h-7z";
      if (kind === "free") put("free", "M" + (x + 3) + " " + (y + 3) + "h3v3h-3z");
      else if (kind === "recorded") {
        put("half", "M" + x + " " + (y + size) + "h" + size + "v-" + size + "z");
        put("outline", square);
      } else if (kind === "untried") put("untried", "M" + (x + 4.5) + " " + y + "l4.5 4.5l-4.5 4.5l-4.5 -4.5z");
      else if (kind === "unbound") put("unbound", "M" + x + " " + (y + 4.5) + "a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z");
      else if (kind === "ignored") put("ignored", inner);
      else {
        put(kind, square);
        if (kind === "unknown") put("cross", "M" + (x + 2.3) + " " + (y + 2.3) + "l4.4 4.4m0 -4.4l-4.4 4.4");
      }
      const ring = "M" + (x - 1.6) + " " + (y - 1.6) + "h12.2v12.2h-12.2z";
      if (moved && moved.has(number)) put("moved", ring);
      else if (row && row.mark && row.mark !== "info") put("marked", ring);
    }
    const width = 4 + Math.min(count, across) * step,
      height = 4 + Math.ceil(count / across) * step;
    const used = rows.filter((row) => row.state !== "inactive");
    const image = svg("svg", {
      class: "slots",
      width,
      height,
      viewBox: "0 0 " + width + " " + height,
      role: "img",
      "aria-label": "keyslots " + (used.map(sayRow).join("; ") || "none in use"),
    });
    for (const [name, shape] of Object.entries(paths)) image.append(svg("path", { class: name, d: shape }));
    return image;
  }
  function movedSlots(volume) {
    const text = (rows) => new Map((rows || []).map((row) => [row.keyslot, JSON.stringify([row.state, row.opened_by, row.kdf, row.priority])]));
    const before = text(volume.before),
      after = text(volume.after || volume.keyslots);
    return new Set([...before.keys(), ...after.keys()].filter((number) => before.get(number) !== after.get(number)));
  }

  // Filters

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
    if (filter.state && volume.state !== filter.state) return false;
    if (filter.severity && !volume.findings.some((one) => one.severity === filter.severity)) return false;
    if (filter.rule && ![...volume.findings, ...volume.unverified].some((one) => one.rule === filter.rule)) return false;
    return filter.text.split(/\s+/).every((word) => searchText(volume).includes(word));
  }
  const filtering = () => Boolean(filter.text || filter.state || filter.severity || filter.rule);
  function rank(volume) {
    return STATES.indexOf(volume.state) * 10 + (volume.worst ? SEVERITIES.indexOf(volume.worst) : 9);
  }
  function chosenHosts() {
    const chosen = [];
    for (const host of report.hosts) {
      const found = filtering() ? host.volumes.filter(matches) : [...host.volumes];
      if (filter.sort === "worst") found.sort((one, other) => rank(one) - rank(other) || one.number - other.number);
      if (
        found.length ||
        !filtering() ||
        (filter.text && host.host.toLowerCase().includes(filter.text) && !filter.state && !filter.severity && !filter.rule)
      )
        chosen.push({ host, volumes: found, rank: host.error ? -1 : Math.min(1e6, ...found.map(rank)) });
    }
    if (filter.sort === "worst")
      chosen.sort((one, other) => one.rank - other.rank || other.volumes.length - one.volumes.length || (one.host.host < other.host.host ? -1 : 1));
    return chosen;
  }
  function setFilter(changes) {
    Object.assign(filter, changes);
    page = 0;
    drawTiles();
    drawRules();
    drawVolumes();
  }

  // Parts of the page

  const main = document.getElementById("main");
  const tiles = h("div", { class: "tiles" }),
    rules = h("div", { class: "scroll" });
  const matrix = h("div", { id: "matrix" }),
    pager = h("nav", { class: "pager", "aria-label": "Pages of hosts" }),
    count = h("span", { class: "count", role: "status" });
  const paperNote = h("p", { class: "only-print soft" });
  const search = h("input", {
    type: "search",
    id: "search",
    placeholder: "Search host, device, uuid, label, rule\u2026  ( / )",
    "aria-label": "Search",
    oninput: (event) => setFilter({ text: event.target.value.trim().toLowerCase() }),
  });

  function drawTiles() {
    tiles.replaceChildren(
      ...STATES.filter((state) => report.totals.states[state] || ["findings", "compliant", "done"].includes(state)).map((state) =>
        h(
          "button",
          {
            type: "button",
            class: "tile t-" + state,
            "aria-pressed": String(filter.state === state),
            onclick: () => setFilter({ state: filter.state === state ? "" : state }),
          },
          h("b", {}, report.totals.states[state].toLocaleString("en")),
          SIGNS[state] + " " + WORDS[state],
        ),
      ),
      ...(report.totals.hosts_without_answer
        ? [h("div", { class: "tile t-failed" }, h("b", {}, report.totals.hosts_without_answer.toLocaleString("en")), "! hosts without an answer")]
        : []),
    );
  }
  function share() {
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
    const box = h("div", {}, volumes.length > 60 ? fleetMap() : bar, legend);
    return box;
  }
  // Each volume a dot, in the order of the hosts; one path for each tone.
  function fleetMap() {
    const across = Math.max(40, Math.ceil(Math.sqrt(volumes.length * 5))),
      down = Math.ceil(volumes.length / across),
      paths = {};
    volumes.forEach((volume, index) => {
      const name = tone(volume);
      paths[name] = (paths[name] || "") + "M" + (index % across) * 10 + " " + Math.floor(index / across) * 10 + "h8v8h-8z";
    });
    const image = svg("svg", {
      viewBox: "0 0 " + across * 10 + " " + down * 10,
      role: "img",
      preserveAspectRatio: "xMinYMin meet",
      "aria-label": "Every volume as a dot, in the order of the hosts; the table below has the same data",
    });
    for (const [name, shape] of Object.entries(paths)) image.append(svg("path", { class: "t-" + name, d: shape }));
    image.addEventListener("click", (event) => {
      const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(image.getScreenCTM().inverse());
      const volume = volumes[Math.floor(point.y / 10) * across + Math.floor(point.x / 10)];
      if (volume) openDetails(volume);
    });
    return h("div", { class: "map" }, image);
  }
  function ruleGroups() {
    const groups = new Map();
    for (const [list, unverified] of [
      ["findings", false],
      ["unverified", true],
    ]) {
      for (const volume of volumes)
        for (const one of volume[list]) {
          const key = one.rule + "|" + one.severity + "|" + unverified;
          if (!groups.has(key)) groups.set(key, { rule: one.rule, severity: one.severity, unverified, example: one, volumes: new Set() });
          groups.get(key).volumes.add(volume.number);
        }
    }
    return [...groups.values()].sort(
      (one, other) =>
        one.unverified - other.unverified ||
        SEVERITIES.indexOf(one.severity) - SEVERITIES.indexOf(other.severity) ||
        other.volumes.size - one.volumes.size,
    );
  }
  const groups = ruleGroups();
  function drawRules() {
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
                {},
                chip(group.unverified ? "unverified" : group.severity, group.unverified, group.unverified ? "not verified" : group.severity),
              ),
              h(
                "td",
                {},
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
              h("td", { class: "small" }, group.example.message),
              h("td", { class: "number" }, group.volumes.size.toLocaleString("en")),
            ),
          ),
        ),
      ),
    );
  }
  function ages() {
    const buckets = [
      ["up to 30 days", 30],
      ["31 to 90 days", 90],
      ["91 to 180 days", 180],
      ["181 to 365 days", 365],
      ["1 to 2 years", 730],
      ["over 2 years", Infinity],
    ].map(([name, most]) => ({ name, most, slots: 0 }));
    const unknown = { name: "no record", slots: 0 };
    for (const volume of volumes)
      for (const row of volume.keyslots) {
        if (row.state === "inactive" || row.bound === false) continue;
        const known = typeof row.age_days === "number" && row.age_days >= 0;
        (known ? buckets.find((bucket) => row.age_days <= bucket.most) : unknown).slots += 1;
      }
    const all = [...buckets, unknown],
      most = Math.max(1, ...all.map((bucket) => bucket.slots));
    return h(
      "div",
      { class: "ages", role: "list", "aria-label": "Keyslots by age of their secret" },
      all.map((bucket) => {
        const fill = h("i", {});
        fill.style.width = (100 * bucket.slots) / most + "%";
        if (!bucket.slots) fill.style.display = "none";
        if (bucket === unknown) fill.style.background = "var(--idle)";
        return [
          h("span", { class: "small", role: "listitem" }, bucket.name),
          h("span", { class: "track", "aria-hidden": "true" }, fill),
          h("span", { class: "number small" }, bucket.slots.toLocaleString("en")),
        ];
      }),
    );
  }
  function phases() {
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
  function sample(kind) {
    const row = {
      known: { keyslot: 0, opened_by: ["x"] },
      recorded: { keyslot: 0, opened_by: ["x"], recorded: true },
      unknown: { keyslot: 0, opened_by: [] },
      untried: { keyslot: 0, opened_by: [], tried: false },
      unbound: { keyslot: 0, bound: false },
      ignored: { keyslot: 0, opened_by: ["x"], priority: "ignore" },
      free: { keyslot: 0, state: "inactive" },
      marked: { keyslot: 0, opened_by: ["x"], mark: "high" },
      moved: { keyslot: 0, opened_by: ["x"] },
    }[kind];
    const image = picture({ slot_count: 1 }, [row], kind === "moved" ? new Set([0]) : null);
    image.setAttribute("aria-hidden", "true");
    return image;
  }
  function slotLegend() {
    const words = {
      known: "opened by a known secret",
      recorded: "the record says so",
      unknown: "by nobody known",
      untried: "not tried",
      ignored: "ignored at boot",
      unbound: "unbound",
      free: "free",
    };
    words[rotation ? "moved" : "marked"] = rotation ? "changed" : "with a finding";
    return h(
      "div",
      { class: "legend" },
      Object.entries(words).map(([kind, text]) => h("span", {}, sample(kind), text)),
    );
  }
  function oldest(volume) {
    const known = volume.keyslots.map((row) => row.age_days).filter((age) => typeof age === "number" && age >= 0);
    return known.length ? Math.max(...known) : null;
  }
  function card(volume) {
    const counts = SEVERITIES.map((severity) => [severity, volume.findings.filter((one) => one.severity === severity).length]).filter(
      ([, number]) => number,
    );
    const age = oldest(volume),
      pair = volume.before;
    const pictures = pair
      ? h(
          "div",
          { class: "pair" },
          picture(volume, volume.before),
          h("span", { "aria-label": "becomes" }, "\u2192"),
          picture(volume, volume.after || volume.keyslots, movedSlots(volume)),
        )
      : picture(volume, volume.keyslots);
    return h(
      "button",
      { type: "button", class: "volume t-" + tone(volume), "data-volume": volume.number, onclick: () => openDetails(volume) },
      h("span", { class: "name", title: volume.device }, volume.device),
      pictures,
      h(
        "span",
        { class: "line small" },
        h("b", {}, SIGNS[volume.state] + " " + WORDS[volume.state]),
        counts.map(([severity, number]) => chip(severity, false, number + " " + severity)),
        volume.unverified.length && volume.state !== "unverified" ? chip("unverified", true, volume.unverified.length + " ?") : null,
        volume.phase ? h("span", { class: "soft" }, volume.phase) : null,
        age !== null ? h("span", { class: "soft" }, age + " days") : null,
      ),
    );
  }
  function drawVolumes() {
    const chosen = chosenHosts(),
      pages = Math.max(1, Math.ceil(chosen.length / PAGE));
    page = Math.min(page, pages - 1);
    const brief = printing && volumes.length > PAPER,
      fine = (volume) => ["compliant", "recorded", "done", "unchanged"].includes(volume.state) && !volume.findings.length;
    const pruned = brief
      ? chosen
          .map((one) => ({ host: one.host, volumes: one.volumes.filter((volume) => !fine(volume)) }))
          .filter((one) => one.volumes.length || one.host.error)
      : chosen;
    const visible = printing ? pruned : chosen.slice(page * PAGE, (page + 1) * PAGE),
      found = chosen.reduce((sum, one) => sum + one.volumes.length, 0);
    count.textContent = many(found, "volume") + " on " + many(chosen.length, "host");
    paperNote.textContent = brief ? "On paper, volumes with nothing to say are left out of the table below." : "";
    matrix.replaceChildren(
      visible.length
        ? h(
            "table",
            { class: "matrix", "aria-label": "Hosts and their volumes" },
            h(
              "tbody",
              {},
              visible.map((one) =>
                h(
                  "tr",
                  {},
                  h(
                    "th",
                    { scope: "row" },
                    one.host.host,
                    h(
                      "div",
                      { class: "soft small" },
                      one.volumes.length < one.host.volumes.length
                        ? one.volumes.length + " of " + many(one.host.volumes.length, "volume")
                        : many(one.host.volumes.length, "volume"),
                    ),
                  ),
                  h(
                    "td",
                    {},
                    one.host.error ? h("p", { class: "note" }, chip("failed", false, "no answer"), " ", one.host.error) : null,
                    h("div", { class: one.volumes.some((volume) => volume.before) ? "cells pairs" : "cells" }, one.volumes.map(card)),
                  ),
                ),
              ),
            ),
          )
        : h("p", { class: "soft" }, "No volume matches."),
    );
    const turn = (to) => () => {
      page = to;
      drawVolumes();
      document.getElementById("volumes").scrollIntoView();
    };
    pager.replaceChildren(
      ...(pages > 1
        ? [
            h("button", { type: "button", disabled: page === 0, onclick: turn(page - 1) }, "\u2190 Previous"),
            h("span", {}, "Page " + (page + 1) + " of " + pages),
            h("button", { type: "button", disabled: page === pages - 1, onclick: turn(page + 1) }, "Next \u2192"),
          ]
        : []),
    );
  }

  // One volume in full

  function cost(kdf) {
    if (!kdf || !kdf.type) return "";
    if (kdf.type === "pbkdf2") return kdf.type + ", " + kdf.hash + ", " + Number(kdf.iterations).toLocaleString("en") + " iterations";
    if (kdf.time === undefined) return kdf.type;
    const memory = typeof kdf.memory === "number" ? (kdf.memory >= 1024 ? Math.round(kdf.memory / 1024) + " MiB" : kdf.memory + " KiB") : kdf.memory;
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
              ["Slot", "Opened by", "Key derivation", "Priority", "Tokens", "Changed"].map((name) => h("th", { scope: "col" }, name)),
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
                  h("td", {}, row.keyslot, row.mark ? [" ", chip(row.mark)] : null),
                  h(
                    "td",
                    {},
                    row.opened_by.length
                      ? row.opened_by.join(", ") + (row.recorded ? " (by record)" : "")
                      : h("span", { class: "soft" }, row.tried === false ? "not tried" : "nobody known"),
                    row.bound === false ? " (unbound)" : "",
                  ),
                  h("td", { class: "small" }, cost(row.kdf)),
                  h("td", {}, row.priority || ""),
                  h("td", {}, row.tokens.join(", ")),
                  h("td", { class: "small" }, row.changed ? row.changed.slice(0, 10) + " (" + row.age_days + " days)" : ""),
                ),
              ),
          ),
        ),
      ),
    ];
  }
  function findingList(list, unverified) {
    return list.map((one) =>
      h(
        "div",
        { class: "finding t-" + (unverified ? "unverified" : one.severity) },
        h("div", {}, chip(unverified ? "unverified" : one.severity, unverified, unverified ? "not verified" : one.severity), " ", one.message),
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
  const details = document.getElementById("details");
  function openDetails(volume) {
    const facts = [
      ["Host", volume.host.host],
      ["Detached header", volume.header],
      ["uuid", volume.uuid],
      ["Format", [volume.type, volume.container].filter(Boolean).join(", ")],
      ["Label", volume.label],
      ["Cipher", volume.cipher],
      ["Volume key", volume.key_size ? volume.key_size + " bytes" : ""],
      ["Policy", volume.policy],
      ["Phase", volume.phase],
      ["Keys derived", volume.kdf_evaluations],
    ].filter(([, value]) => value !== undefined && value !== "" && value !== null);
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
    if (event.target === details) details.close();
  });

  // Paper has no buttons: everything is written out, and findings once more with what to do.

  const paper = h("section", { class: "card only-print" });
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
        ),
      ),
    );
  }
  window.addEventListener("beforeprint", () => {
    printing = true;
    drawVolumes();
    drawPaper();
  });
  window.addEventListener("afterprint", () => {
    printing = false;
    drawVolumes();
    paper.replaceChildren();
  });

  add(main, [
    tiles,
    h("section", { class: "card" }, h("h2", {}, volumes.length > 60 ? "The fleet at a glance" : "Share of the volumes"), share()),
    h(
      "div",
      { class: rotation && !groups.length ? "" : "columns" },
      rotation && !groups.length ? null : h("section", { class: "card" }, h("h2", {}, "Findings by rule"), rules),
      h(
        "section",
        { class: "card" },
        rotation
          ? [h("h2", {}, "Progress"), phases()]
          : [
              h("h2", {}, "Age of secrets"),
              h("p", { class: "soft small" }, "Keyslots by the time since their last change, as recorded in the header."),
              ages(),
            ],
      ),
    ),
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
              setFilter({ text: "", state: "", severity: "", rule: "" });
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
  drawTiles();
  drawRules();
  drawVolumes();

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
    if (wanted && volumes[Number(wanted[1])]) openDetails(volumes[Number(wanted[1])]);
  }
  window.addEventListener("hashchange", followHash);
  followHash();
  root.dataset.milliseconds = String(Math.round((performance.now() - started) * 100) / 100);
})();
"""
