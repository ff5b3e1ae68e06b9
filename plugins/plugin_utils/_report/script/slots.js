// Copyright (c) 2026 The luksmith developers
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The picture of a volume's keyslots, its legend, and which keyslots differ between two pictures.

import { h, rotation, svg } from "./shared.js";

function kindOf(row) {
  if (!row || row.state === "inactive") {
    return "free";
  }
  if (row.bound === false) {
    return "unbound";
  }
  if ((row.opened_by || []).includes("(empty)")) {
    return "unknown";
  }
  if ((row.opened_by || []).length) {
    return row.priority === "ignore" ? "ignored" : row.recorded ? "recorded" : "known";
  }
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
  return Math.min(
    64,
    Math.max(volume.slot_count || (volume.type === "luks1" ? 8 : volume.type === "luks2" ? 32 : 0), highest),
  );
}
// One path for each kind of slot: the number of elements does not grow with the number of slots.
export function picture(volume, rows, moved) {
  const count = countSlots(volume, rows),
    across = count > 8 ? 16 : 8,
    step = 13,
    size = 9;
  if (!count || (!rows.length && volume.state === "failed")) {
    return h("span", { class: "soft small" }, "no keyslots to show");
  }
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
    if (kind === "free") {
      put("free", "M" + (x + 3) + " " + (y + 3) + "h3v3h-3z");
    } else if (kind === "recorded") {
      put("half", "M" + x + " " + (y + size) + "h" + size + "v-" + size + "z");
      put("outline", square);
    } else if (kind === "untried") {
      put("untried", "M" + (x + 4.5) + " " + y + "l4.5 4.5l-4.5 4.5l-4.5 -4.5z");
    } else if (kind === "unbound") {
      put("unbound", "M" + x + " " + (y + 4.5) + "a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z");
    } else if (kind === "ignored") {
      put("ignored", inner);
    } else {
      put(kind, square);
      if (kind === "unknown") {
        put("cross", "M" + (x + 2.3) + " " + (y + 2.3) + "l4.4 4.4m0 -4.4l-4.4 4.4");
      }
    }
    const ring = "M" + (x - 1.6) + " " + (y - 1.6) + "h12.2v12.2h-12.2z";
    if (moved && moved.has(number)) {
      put("moved", ring);
    } else if (row && row.mark && row.mark !== "info") {
      put("marked", ring);
    }
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
  for (const [name, shape] of Object.entries(paths)) {
    image.append(svg("path", { class: name, d: shape }));
  }
  return image;
}
export function movedSlots(volume) {
  const text = (rows) =>
    new Map(
      (rows || []).map((row) => [row.keyslot, JSON.stringify([row.state, row.opened_by, row.kdf, row.priority])]),
    );
  const before = text(volume.before),
    after = text(volume.after || volume.keyslots);
  return new Set([...before.keys(), ...after.keys()].filter((number) => before.get(number) !== after.get(number)));
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
export function slotLegend() {
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
