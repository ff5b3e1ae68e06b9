# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The looks of the report page. A Python file, because Ansible carries nothing else to where a module runs."""

from __future__ import annotations

STYLE = r"""
:root {
  color-scheme: light;
  --page: #f6f7f9;
  --card: #ffffff;
  --ink: #1b2330;
  --soft: #5a6575;
  --line: #dde2ea;
  --strong: #c3cbd8;
  --accent: #1f5fbf;
  --shade: #eef1f6;
  --critical: #8f1140;
  --high: #cf3434;
  --medium: #d97a06;
  --low: #a88a00;
  --info: #5b7490;
  --failed: #4b4458;
  --unverified: #7a5cc4;
  --recorded: #2f86a8;
  --compliant: #23834a;
  --idle: #8b97a8;
  --slot: #23834a;
  --on: #ffffff;
}
:root[data-theme="dark"] {
  color-scheme: dark;
  --page: #12161d;
  --card: #1b212b;
  --ink: #e7ecf3;
  --soft: #9aa7b8;
  --line: #2b3442;
  --strong: #3d4859;
  --accent: #7db2ff;
  --shade: #242c38;
  --critical: #ff5f96;
  --high: #ff7468;
  --medium: #f5a742;
  --low: #d9c04a;
  --info: #8fa8c4;
  --failed: #a79db8;
  --unverified: #b49cf2;
  --recorded: #62b8d8;
  --compliant: #55c07d;
  --idle: #6b788a;
  --slot: #55c07d;
  --on: #12161d;
}
* {
  box-sizing: border-box;
}
body {
  margin: 0;
  background: var(--page);
  color: var(--ink);
  font:
    15px/1.5 system-ui,
    -apple-system,
    "Segoe UI",
    Roboto,
    "DejaVu Sans",
    sans-serif;
}
.top,
main {
  max-width: 1500px;
  margin: 0 auto;
  padding: 0 28px;
}
.top {
  display: flex;
  gap: 24px;
  align-items: flex-start;
  justify-content: space-between;
  padding-top: 28px;
}
.top-buttons {
  display: flex;
  gap: 8px;
  flex: none;
}
h1 {
  font-size: 26px;
  line-height: 1.2;
  margin: 0 0 4px;
  letter-spacing: -0.01em;
}
h2 {
  font-size: 17px;
  margin: 0 0 12px;
}
h3 {
  font-size: 15px;
  margin: 18px 0 8px;
}
p {
  margin: 0;
}
.sub,
.soft {
  color: var(--soft);
}
.small {
  font-size: 13px;
}
main {
  padding-top: 20px;
  padding-bottom: 60px;
}
.card {
  background: var(--card);
  border: 1px solid var(--line);
  border-radius: 10px;
  padding: 18px 20px;
  margin-bottom: 18px;
}
.columns {
  display: grid;
  grid-template-columns: minmax(0, 3fr) minmax(0, 2fr);
  gap: 18px;
}
.columns > .card {
  margin-bottom: 18px;
}
.skip {
  position: absolute;
  left: -9999px;
}
.skip:focus {
  left: 12px;
  top: 8px;
  background: var(--card);
  padding: 6px 12px;
  z-index: 2;
}
button,
select,
input {
  font: inherit;
  color: inherit;
  background: var(--card);
  border: 1px solid var(--strong);
  border-radius: 7px;
  padding: 5px 12px;
}
button {
  cursor: pointer;
}
button:hover {
  border-color: var(--accent);
}
:focus-visible {
  outline: 2px solid var(--accent);
  outline-offset: 2px;
}
button[disabled] {
  opacity: 0.45;
  cursor: default;
}

.tiles {
  display: grid;
  grid-template-columns: repeat(auto-fit, minmax(130px, 1fr));
  gap: 12px;
  margin-bottom: 18px;
}
.tile {
  text-align: left;
  border: 1px solid var(--line);
  border-left: 5px solid var(--tone, var(--idle));
  border-radius: 10px;
  background: var(--card);
  padding: 12px 16px;
}
.tile b {
  display: block;
  font-size: 27px;
  line-height: 1.15;
  font-variant-numeric: tabular-nums;
}
.tile[aria-pressed="true"] {
  background: var(--shade);
  border-color: var(--tone);
}
.bar {
  display: flex;
  height: 14px;
  border-radius: 7px;
  overflow: hidden;
  background: var(--shade);
}
.bar i {
  background: var(--tone);
  min-width: 2px;
}
.bar i + i {
  border-left: 1px solid var(--card);
}

.t-critical {
  --tone: var(--critical);
}
.t-high {
  --tone: var(--high);
}
.t-medium {
  --tone: var(--medium);
}
.t-low {
  --tone: var(--low);
}
.t-info {
  --tone: var(--info);
}
.t-failed,
.t-partial,
.t-refused {
  --tone: var(--failed);
}
.t-unverified {
  --tone: var(--unverified);
}
.t-recorded,
.t-running {
  --tone: var(--recorded);
}
.t-compliant,
.t-done {
  --tone: var(--compliant);
}
.t-findings,
.t-partial {
  --tone: var(--high);
}
.t-waiting,
.t-unchanged {
  --tone: var(--idle);
}
.chip {
  display: inline-block;
  border-radius: 5px;
  padding: 0 7px;
  font-size: 12px;
  line-height: 19px;
  font-weight: 600;
  color: var(--on);
  background: var(--tone);
  white-space: nowrap;
}
.chip.quiet {
  color: var(--tone);
  background: transparent;
  box-shadow: inset 0 0 0 1px var(--tone);
}
.dot {
  display: inline-block;
  width: 10px;
  height: 10px;
  border-radius: 3px;
  background: var(--tone);
  margin-right: 6px;
  flex: none;
}
.legend {
  display: flex;
  flex-wrap: wrap;
  gap: 6px 18px;
  font-size: 13px;
  color: var(--soft);
  margin-top: 12px;
}
.legend span {
  display: inline-flex;
  align-items: center;
}
.legend svg {
  margin-right: 6px;
}

.map {
  line-height: 0;
}
.map svg {
  display: block;
  width: 100%;
  height: auto;
  max-height: 260px;
  cursor: pointer;
}
.map path {
  fill: var(--tone);
}

table {
  border-collapse: collapse;
  width: 100%;
}
th {
  text-align: left;
  font-weight: 600;
}
.list th,
.list td {
  padding: 7px 10px 7px 0;
  border-bottom: 1px solid var(--line);
  vertical-align: top;
}
.list thead th {
  color: var(--soft);
  font-size: 13px;
  font-weight: 600;
}
.list tr:last-child td {
  border-bottom: 0;
}
.number {
  text-align: right;
  font-variant-numeric: tabular-nums;
}
.rule {
  font-family: ui-monospace, "DejaVu Sans Mono", monospace;
  font-size: 13px;
  padding: 2px 8px;
  white-space: nowrap;
}
.rule[aria-pressed="true"] {
  background: var(--accent);
  color: var(--on);
  border-color: var(--accent);
}
.scroll {
  overflow: auto;
  max-height: 430px;
}

.ages {
  margin-top: 10px;
  display: grid;
  grid-template-columns: auto 1fr auto;
  gap: 6px 12px;
  align-items: center;
}
.ages .track {
  background: var(--shade);
  border-radius: 4px;
  height: 16px;
}
.ages .track i {
  display: block;
  height: 16px;
  border-radius: 4px;
  background: var(--accent);
  min-width: 2px;
}
.ages .number {
  min-width: 3ch;
}

.tools {
  display: flex;
  flex-wrap: wrap;
  gap: 10px;
  align-items: center;
  margin-bottom: 14px;
}
.tools input {
  flex: 1 1 260px;
  min-width: 200px;
}
.tools .count {
  margin-left: auto;
  color: var(--soft);
}
.pager {
  display: flex;
  gap: 8px;
  align-items: center;
  justify-content: center;
  margin-top: 16px;
}

.matrix > tbody > tr > * {
  border-top: 1px solid var(--line);
  padding: 12px 12px 12px 0;
  vertical-align: top;
}
.matrix > tbody > tr:first-child > * {
  border-top: 0;
}
.matrix th[scope="row"] {
  width: 220px;
  max-width: 220px;
  overflow-wrap: anywhere;
}
.matrix .cells {
  display: grid;
  grid-template-columns: repeat(auto-fill, minmax(min(238px, 100%), 1fr));
  gap: 10px;
}
.matrix .cells.pairs {
  grid-template-columns: repeat(auto-fill, minmax(min(410px, 100%), 1fr));
}
.matrix th .small {
  font-weight: 400;
}
.volume {
  display: flex;
  flex-direction: column;
  gap: 7px;
  text-align: left;
  min-width: 0;
  padding: 10px 12px;
  border: 1px solid var(--line);
  border-left: 5px solid var(--tone);
  border-radius: 8px;
  background: var(--card);
}
.volume:hover {
  background: var(--shade);
}
.volume .name {
  font-weight: 600;
  overflow: hidden;
  text-overflow: ellipsis;
  white-space: nowrap;
}
.volume .line {
  display: flex;
  gap: 6px;
  align-items: center;
  min-height: 20px;
  flex-wrap: wrap;
}
.pair {
  display: flex;
  align-items: center;
  gap: 10px;
}
.slots .known {
  fill: var(--slot);
}
.slots .half {
  fill: var(--recorded);
}
.slots .outline {
  fill: none;
  stroke: var(--recorded);
  stroke-width: 1.3;
}
.slots .unknown {
  fill: var(--high);
}
.slots .cross {
  stroke: var(--on);
  stroke-width: 1.6;
  fill: none;
}
.slots .untried {
  fill: none;
  stroke: var(--unverified);
  stroke-width: 1.6;
}
.slots .unbound {
  fill: var(--info);
}
.slots .ignored {
  fill: none;
  stroke: var(--medium);
  stroke-width: 1.8;
}
.slots .free {
  fill: var(--strong);
}
.slots .marked {
  fill: none;
  stroke: var(--ink);
  stroke-width: 1.2;
}
.slots .moved {
  fill: none;
  stroke: var(--accent);
  stroke-width: 1.8;
}

dialog {
  width: min(980px, 94vw);
  max-height: 90vh;
  border: 1px solid var(--strong);
  border-radius: 12px;
  background: var(--card);
  color: var(--ink);
  padding: 24px 28px;
}
dialog::backdrop {
  background: rgb(8 12 20 / 0.55);
}
dialog .head {
  display: flex;
  justify-content: space-between;
  gap: 16px;
  align-items: flex-start;
}
dialog h2 {
  font-size: 20px;
  margin: 0;
  overflow-wrap: anywhere;
}
.facts {
  display: grid;
  grid-template-columns: repeat(auto-fill, minmax(200px, 1fr));
  gap: 8px 20px;
  margin: 14px 0;
}
.facts dt {
  color: var(--soft);
  font-size: 12px;
}
.facts dd {
  margin: 0;
  overflow-wrap: anywhere;
}
.finding {
  border-left: 4px solid var(--tone);
  padding: 2px 0 2px 12px;
  margin: 0 0 12px;
  overflow-wrap: anywhere;
}
.finding .remedy {
  color: var(--soft);
}
.note {
  padding: 12px 14px;
  background: var(--shade);
  border-radius: 8px;
  overflow-wrap: anywhere;
}
.steps {
  margin: 4px 0 0;
  padding-left: 20px;
}
.only-print {
  display: none;
}
td,
th {
  overflow-wrap: break-word;
}
@media (max-width: 900px) {
  .columns {
    grid-template-columns: minmax(0, 1fr);
    gap: 0;
  }
  .top {
    flex-direction: column;
  }
  .matrix th[scope="row"] {
    width: 120px;
  }
  .top,
  main {
    padding-left: 16px;
    padding-right: 16px;
  }
}
@media (max-width: 560px) {
  .matrix,
  .matrix > tbody,
  .matrix > tbody > tr,
  .matrix > tbody > tr > th[scope="row"],
  .matrix > tbody > tr > td {
    display: block;
    width: auto;
    max-width: none;
  }
  .matrix > tbody > tr > td {
    border-top: 0;
    padding-top: 0;
  }
  .pair {
    flex-wrap: wrap;
  }
}
@media print {
  :root,
  :root[data-theme="dark"] {
    color-scheme: light;
    --page: #fff;
    --card: #fff;
    --ink: #111;
    --soft: #444;
    --line: #ccc;
    --strong: #999;
    --shade: #f2f2f2;
    --on: #fff;
    --critical: #8f1140;
    --high: #cf3434;
    --medium: #b96500;
    --low: #877000;
    --info: #5b7490;
    --failed: #4b4458;
    --unverified: #6a4cb4;
    --recorded: #2f86a8;
    --compliant: #23834a;
    --slot: #23834a;
    --accent: #1f5fbf;
  }
  * {
    print-color-adjust: exact;
    -webkit-print-color-adjust: exact;
  }
  body {
    font-size: 10.5pt;
  }
  .top,
  main {
    max-width: none;
    padding-left: 0;
    padding-right: 0;
  }
  .top-buttons,
  .tools,
  .pager,
  .skip,
  dialog {
    display: none !important;
  }
  .only-print {
    display: block;
  }
  .card {
    break-inside: auto;
    border-radius: 0;
    border: 0;
    border-top: 1px solid #999;
    padding: 10px 0;
  }
  .tile,
  tr,
  .volume,
  .finding {
    break-inside: avoid;
  }
  .scroll {
    max-height: none;
    overflow: visible;
  }
  .columns {
    grid-template-columns: 1fr;
    gap: 0;
  }
  .matrix th[scope="row"] {
    width: 130px;
  }
  .matrix .cells {
    grid-template-columns: repeat(auto-fill, minmax(225px, 1fr));
  }
  .matrix .cells.pairs {
    grid-template-columns: repeat(auto-fill, minmax(400px, 1fr));
  }
  h2,
  h3 {
    break-after: avoid;
  }
}
@page {
  margin: 14mm;
}
@media (prefers-reduced-motion: no-preference) {
  .volume,
  button {
    transition:
      background-color 0.12s,
      border-color 0.12s;
  }
}
"""
