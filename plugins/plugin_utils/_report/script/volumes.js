// Copyright (c) 2026 The luksmith developers
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Hosts and their volumes, one page of hosts at a time.

import { chip, h, many, PAGE, PAPER, SEVERITIES, SIGNS, tone, UNANSWERED, volumes, WORDS } from "./shared.js";
import { movedSlots, picture } from "./slots.js";
import { chosenHosts, view } from "./filters.js";
import { openDetails } from "./details.js";

export const matrix = h("div", { id: "matrix" });
export const pager = h("nav", { class: "pager", "aria-label": "Pages of hosts" });
export const count = h("span", { class: "count", role: "status" });
export const paperNote = h("p", { class: "only-print soft" });

// A host with an error that has answered all the same.
const partial = (host) => host.volumes.length || host.searched;
function oldest(volume) {
  const known = volume.keyslots.map((row) => row.age_days).filter((age) => typeof age === "number" && age >= 0);
  return known.length ? Math.max(...known) : null;
}
function card(volume) {
  const counts = SEVERITIES.map((severity) => [
    severity,
    volume.findings.filter((one) => one.severity === severity).length,
  ]).filter(([, number]) => number);
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
    {
      type: "button",
      class: "volume t-" + tone(volume),
      "data-volume": volume.number,
      onclick: () => openDetails(volume),
    },
    h("span", { class: "name", title: volume.device }, volume.device),
    pictures,
    h(
      "span",
      { class: "line small" },
      h("b", {}, SIGNS[volume.state] + " " + WORDS[volume.state]),
      counts.map(([severity, number]) => chip(severity, false, number + " " + severity)),
      volume.unverified.length && volume.state !== "unverified"
        ? chip("unverified", true, volume.unverified.length + " ?")
        : null,
      volume.phase ? h("span", { class: "soft" }, volume.phase) : null,
      age !== null ? h("span", { class: "soft" }, age + " days") : null,
      volume.store ? h("span", { class: "soft" }, "store: " + volume.store.opens) : null,
      volume.chain && volume.chain.some((file) => file.replaced.length)
        ? chip("high", true, "a replaced secret opens what is beneath")
        : null,
      volume.unknown && volume.unknown.length
        ? chip("unverified", true, many(volume.unknown.length, "unknown keyslot"))
        : null,
    ),
    volume.msg ? h("span", { class: "reason small" }, volume.msg) : null,
  );
}
export function drawVolumes() {
  const chosen = chosenHosts(),
    pages = Math.max(1, Math.ceil(chosen.length / PAGE));
  view.page = Math.min(view.page, pages - 1);
  const brief = view.printing && volumes.length > PAPER,
    fine = (volume) =>
      ["compliant", "recorded", "planned", "done", "unchanged"].includes(volume.state) && !volume.findings.length;
  const pruned = brief
    ? chosen
        .map((one) => ({ host: one.host, volumes: one.volumes.filter((volume) => !fine(volume)) }))
        .filter((one) => one.volumes.length || one.host.error || one.host.excluded.length || UNANSWERED[one.host.state])
    : chosen;
  const visible = view.printing ? pruned : chosen.slice(view.page * PAGE, (view.page + 1) * PAGE),
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
                  one.host.error
                    ? h(
                        "p",
                        { class: "note" },
                        chip("failed", false, partial(one.host) ? "incomplete" : "no answer"),
                        " ",
                        one.host.error,
                      )
                    : null,
                  one.host.excluded.map((left) =>
                    h("p", { class: "soft small" }, "Excluded: " + left.volume + " (" + left.reason + ")"),
                  ),
                  UNANSWERED[one.host.state]
                    ? h(
                        "p",
                        { class: "note" },
                        chip(one.host.state, true, UNANSWERED[one.host.state][1]),
                        " ",
                        UNANSWERED[one.host.state][2],
                      )
                    : null,
                  h(
                    "div",
                    { class: one.volumes.some((volume) => volume.before) ? "cells pairs" : "cells" },
                    one.volumes.map(card),
                  ),
                ),
              ),
            ),
          ),
        )
      : h("p", { class: "soft" }, "No volume matches."),
  );
  const turn = (to) => () => {
    view.page = to;
    drawVolumes();
    document.getElementById("volumes").scrollIntoView();
  };
  pager.replaceChildren(
    ...(pages > 1
      ? [
          h("button", { type: "button", disabled: view.page === 0, onclick: turn(view.page - 1) }, "\u2190 Previous"),
          h("span", {}, "Page " + (view.page + 1) + " of " + pages),
          h(
            "button",
            { type: "button", disabled: view.page === pages - 1, onclick: turn(view.page + 1) },
            "Next \u2192",
          ),
        ]
      : []),
  );
}
