# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report page in a real browser without a network: what it shows, what it does, and that a large fleet is as quick
as a small one.
"""

from __future__ import annotations

import html.parser
import json
import pathlib
import re
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import policy, policy_text, rules
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import comparison, page
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import data as report_data
from ansible_collections.luksmith.luks.tests.browser.browser import Browser
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._report import fleets

pytestmark = pytest.mark.needs("chromium")
VOID = {"meta", "input", "link", "br", "img", "hr"}


class Element:
    def __init__(self, tag: str, attributes: t.Mapping[str, str], parent: t.Optional[Element]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: t.List[t.Union[Element, str]] = []
        self.parent = parent

    def all(self, tag: str = "", **attributes: str) -> t.List[Element]:
        """Descendants; ``class_`` asks for one word of the class."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                classes = child.attributes.get("class", "").split()
                if (not tag or child.tag == tag) and all(
                    value in classes if name == "class_" else child.attributes.get(name) == value
                    for name, value in attributes.items()
                ):
                    found.append(child)
                found += child.all(tag, **attributes)
        return found

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)


class Document(html.parser.HTMLParser):
    """The document that Chromium had when the page was ready."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = self.here = Element("", {}, None)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: t.List[t.Tuple[str, t.Optional[str]]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.children.append(element)
        if tag not in VOID:
            self.here = element

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID and self.here.parent is not None:
            self.here = self.here.parent

    def handle_data(self, data: str) -> None:
        self.here.children.append(data)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("browser"))
    yield started
    started.close()


@pytest.fixture
def show(browser: Browser, tmp_path: pathlib.Path) -> Show:
    return Show(browser, tmp_path)


class Show(t.NamedTuple):
    browser: Browser
    folder: pathlib.Path

    def __call__(
        self,
        hosts: t.Any,
        *,
        doing: str = "",
        fragment: str = "",
        width: int = 1280,
        media: str = "",
        **options: t.Any,
    ) -> Element:
        """The document for ``hosts`` in a window of ``width`` pixels, or on paper of that width (``media="print"``).

        ``doing``: JavaScript that acts as a person would, in a copy of the page that allows it.
        """
        text = page.render(report_data.build(hosts, **options))
        if doing:
            text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text).replace(
                "</body>", f"<script>{doing}</script></body>"
            )
        file = self.folder / "page.html"
        file.write_text(text, encoding="utf-8")
        return Document(self.browser.document(f"file://{file}{fragment}", width, media)).root


def names(document: Element) -> t.List[str]:
    return [one.text for one in document.all("span", class_="name")]


def test_three_volumes(show: Show) -> None:
    document = show(fleets.fleet(3))
    assert [
        row.all("th")[0].text.startswith("host-00000") for row in document.all("table", class_="matrix")[0].all("tr")
    ] == [True]
    assert sorted(names(document)) == ["/dev/vda0", "/dev/vda1", "/dev/vda2"]
    assert names(document)[0] == "/dev/vda1", "the worst comes first"
    assert [tile.text for tile in document.all("button", class_="tile")] == [
        "1\u2717 findings",
        "1? not verified",
        "1\u2713 compliant",
    ]
    pictures = [picture.attributes["aria-label"] for picture in document.all("svg", class_="slots", role="img")][:3]
    assert pictures == ["keyslots 0: opened by admin; 1: opened by break-glass"] * 3
    assert [button.text for button in document.all("button", class_="rule")] == [
        "kdf-cost",
        "slot-ignored",
        "slot-unknown",
    ]


def test_nothing_to_show(show: Show) -> None:
    document = show([])
    assert "No volume matches." in document.text
    assert "0 volumes on 0 hosts" in document.text


def test_a_host_without_an_answer_is_seen_first(show: Show) -> None:
    document = show([*fleets.fleet(3), {"host": "zz-lost", "error": "no route to host", "volumes": []}])
    rows = document.all("table", class_="matrix")[0].all("tr")
    assert rows[0].all("th")[0].text.startswith("zz-lost") and "no route to host" in rows[0].text


def test_many_volumes_are_shown_in_pages(show: Show) -> None:
    document = show(fleets.fleet(3000))
    assert len(document.all("table", class_="matrix")[0].all("tbody")[0].all("tr")) == 50
    assert "Page 1 of 20" in document.text and "3,000 volumes on 1,000 hosts" in document.text
    # All are in the picture of the whole fleet.
    dots = sum(path.attributes["d"].count("M") for path in document.all("div", class_="map")[0].all("path"))
    assert dots == 3000


def test_a_large_fleet_takes_few_elements_more_than_a_page_of_it(show: Show) -> None:
    """So that it is drawn about as quickly.

    A row of the matrix has three cells with a picture in each; 3,000 volumes have 1,000 rows.
    """

    def elements(count: int) -> int:
        document = show(fleets.fleet(count))
        return sum(len(document.all(name)) for name in ("tr", "td", "th", "div", "span", "button", "path", "option"))

    assert elements(3000) < 2 * elements(180)  # 60 hosts fill a page


@pytest.mark.parametrize(
    ("doing", "expected"),
    [
        ("search('vda5')", ["/dev/vda5"]),
        ("search('HOST-00001 vda3')", ["/dev/vda3"]),
        ("search('kdf-cost')", ["/dev/vda1", "/dev/vda8"]),
        ("search('nothing of this kind')", []),
        ("click('.tile.t-unverified')", ["/dev/vda2"]),
        ("choose('severity', 'low')", ["/dev/vda1", "/dev/vda8"]),
        (
            "[...document.querySelectorAll('.rule')].find((one) => one.textContent === 'slot-unknown').click()",
            ["/dev/vda2"],
        ),
        ("search('vda5'); click('#reset'); choose('order', 'name')", [f"/dev/vda{number}" for number in range(9)]),
    ],
)
def test_search_and_filters(show: Show, doing: str, expected: t.List[str]) -> None:
    hands = """
    const click = (what) => document.querySelector(what).click();
    const tell = (id, value, what) => {
      const one = document.getElementById(id);
      one.value = value;
      one.dispatchEvent(new Event(what));
    };
    const choose = (id, value) => tell(id, value, 'change');
    const search = (text) => tell('search', text, 'input');
    """
    assert names(show(fleets.fleet(9), doing=hands + doing)) == expected


def test_one_volume_in_full(show: Show) -> None:
    details = show(fleets.fleet(3), fragment="#volume-1").all("dialog")[0]
    assert "open" in details.attributes
    assert details.all("h2")[0].text == "/dev/vda1"
    for text in (
        "host-00000",
        "uuid-1",
        "kdf-cost was found",
        "do something",
        "argon2id, 4 passes, 64 MiB, 2 lanes",
        "break-glass",
    ):
        assert text in details.text


def test_keyboard(show: Show) -> None:
    doing = (
        "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '/', bubbles: true})); document.title = "
        "document.activeElement.id;"
    )
    assert show(fleets.fleet(3), doing=doing).all("title")[0].text == "search"
    document = show(fleets.fleet(3))
    assert all(one.tag == "button" for one in document.all(class_="volume")), (
        "what opens something is a button, so that Tab and Enter do"
    )


def test_before_and_after(show: Show) -> None:
    below = {"path": "/b", "role": "backing", "encrypted": True, "opened_by": ["leaked"], "replaced": ["leaked"]}
    told: t.Dict[str, t.Any] = {"closed": ["leaked"], "unknown": [{"keyslot": 5, "tried": True}], "chain": [below]}
    done = fleets.rotated(1, secrets=["86cfc40b"], **told)
    hosts = [{"host": "a", "volumes": [done, fleets.rotated(2, "partial", msg="its medium is full")]}]
    document = show(hosts, kind="rotation", fragment="#volume-0")
    assert [one.text for one in document.all("span", class_="reason")] == ["its medium is full"]
    pairs = document.all("div", class_="pair")
    assert [len(pair.all("svg")) for pair in pairs] == [2, 2]
    # Only the slot that changed is marked, and only where the work is done.
    assert [[path.attributes["d"].count("z") for path in pair.all("path", class_="moved")] for pair in pairs] in (
        [[1], []],
        [[], [1]],
    )
    text = document.all("dialog")[0].text
    for words in (
        "rekey keyslot 0 (admin 2026): opened by admin 2025",
        "Keyslots before",
        "Keyslots after",
        "Proven to open nothingleaked",
        "86cfc40b",
        "Beneath itbacking /b, opens with leaked",
        "Opened by no known secretkeyslot 5",
    ):
        assert words in text
    assert "a replaced secret opens what is beneath" in [one.text for one in document.all("span", class_="chip")]


def test_a_run_that_was_stopped(show: Show) -> None:
    hosts = [
        {"host": "a", "volumes": [fleets.rotated(1)]},
        *({"host": f"{state}-1", "state": state} for state in ("asking", "interrupted", "waiting", "beyond")),
    ]
    run = {"check": False, "began": "yesterday", "who": "ann", "options": {"rotate_unknown": "fail"}}
    document = show(hosts, kind="rotation", run=run)
    assert "not at its end" in document.all("section", id="verdict")[0].text
    facts = document.all("section", id="run")[0].text
    for words in ("yesterday", "or the run was stopped", "ann", "rotate_unknown"):
        assert words in facts
    rows = {
        row.all("th")[0].text.partition("-")[0]: row.text for row in document.all("table", class_="matrix")[0].all("tr")
    }
    assert "The run was interrupted while the host was under way" in rows["interrupted"]
    assert (
        "was not reached yet" in rows["waiting"] and "was not asked" in rows["beyond"] and "under way" in rows["asking"]
    )
    assert [tile.text[0] for tile in document.all("div", class_="tile")] == ["1", "1", "1", "1"]


@pytest.mark.parametrize("kind", ["audit", "rotation"])
def test_nothing_lies_beside_a_narrow_window(show: Show, kind: str) -> None:
    rotated = [
        {"host": "a-host-with-a-name.of.some.length", "volumes": [fleets.rotated(1), fleets.rotated(2, "partial")]}
    ]
    hosts = rotated if kind == "rotation" else fleets.fleet(9)
    document = show(hosts, kind=kind, width=360, doing="document.title = document.documentElement.scrollWidth;")
    assert 300 < int(document.all("title")[0].text) <= 360


def earlier(hosts: t.Any) -> t.Any:
    """What changed since a report in which no volume of ``hosts`` had a finding."""
    old = [
        {**host, "volumes": [{**one, "state": "compliant", "findings": []} for one in host["volumes"]]}
        for host in hosts
    ]
    told = {"problem": "", "generated": "yesterday"}
    before = {**told, "hosts": comparison.reduced(report_data.hosts_of(old, "audit"), "audit")}
    return lambda new: comparison.since(before, new, "audit")


LONG = "/srv/images/a-folder-with-a-name/" + "x" * 60


@pytest.mark.parametrize("fragment", ["", "#volume-1"])
@pytest.mark.parametrize("count", [3, 300])
def test_nothing_is_cut_off_at_390_pixels(show: Show, count: int, fragment: str) -> None:
    """A table in a box that scrolls keeps the page narrow, and has its last column beyond the edge all the same."""
    hosts = fleets.fleet(count)
    hosts[0]["volumes"][1].update(device=LONG, uuid="u" * 70)
    hosts[0]["volumes"][1]["findings"].append(fleets.finding("a-rule-with-a-name-that-is-long", message="m" * 90))
    hosts.append({"host": "h" * 70, "error": "no route", "volumes": []})
    beyond = """
    document.title = [...document.querySelectorAll('body *:not(.skip)')].filter((one) => {
      const box = one.getBoundingClientRect();
      return box.width && box.left > -9000 && (box.right > 390.5 || one.scrollWidth > one.clientWidth + 1 &&
        getComputedStyle(one).overflowX !== 'visible' && !['INPUT', 'SELECT'].includes(one.tagName));
    }).map((one) => one.tagName + '.' + one.className).join(' ');
    """
    document = show(hosts, width=390, fragment=fragment, doing=beyond, since=earlier(hosts))
    assert document.all("title")[0].text == ""


def test_what_is_folded_stands_below_its_value(show: Show) -> None:
    """The labels of a narrow table have a column of their own."""
    beside = """
    const folded = [...document.querySelectorAll('.list td > details')];
    document.title = folded.length + ' ' + folded.filter((one) =>
      one.getBoundingClientRect().left < one.parentElement.getBoundingClientRect().left + 100).length;
    """
    count, wrong = show(fleets.fleet(90), width=500, doing=beside).all("title")[0].text.split()
    assert int(count) == 3 and int(wrong) == 0


# Of A4 between the margins of the page.
PAPER = 688


def test_nothing_is_cut_off_on_paper(show: Show) -> None:
    """Paper has no dialog that shows the whole of what is cut off on a screen."""
    hosts = audited(fleets.fleet(9))
    hosts[0]["volumes"][1].update(device=LONG, fingerprint="f" * 64, msg="m " * 400)
    hosts[0]["volumes"][1]["evidence"].update(
        time="2026-11-29T10:00:00Z", tool="luksmith.luks", labels=["admin", "safe"]
    )
    hosts.append({"host": "h" * 70, "error": "no route", "volumes": []})
    doing = """
    window.dispatchEvent(new Event('beforeprint'));
    document.title = [...document.querySelectorAll('body *')].filter((one) => {
      const box = one.getBoundingClientRect();
      const hidden = getComputedStyle(one).overflowX !== 'visible';
      return box.width && box.left > -9000 && (box.right > 688.5 ||
        hidden && (one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1));
    }).map((one) => one.tagName + '.' + one.className).join(' ');
    """
    document = show(hosts, width=PAPER, media="print", doing=doing, since=earlier(hosts))
    assert document.all("title")[0].text == ""
    paper = document.all("section", class_="only-print")[0].text
    for told in (LONG, "Header digest: " + "f" * 64, "Secrets tried: admin, safe", "Policy digest: "):
        assert told in paper


def test_paper_of_a_large_fleet(show: Show) -> None:
    """The words are legible also where the browser leaves out backgrounds, and no page is only the space at the end."""
    doing = """
    document.documentElement.dataset.theme = 'dark';
    window.dispatchEvent(new Event('beforeprint'));
    const light = (name) => name.match(/[\\d.]+/g).slice(0, 3).map((one) => one / 255).map(
      (one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4),
    ).reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
    const chips = [...document.querySelectorAll('.chip')].map((one) => getComputedStyle(one));
    const clear = (one) => one.backgroundColor === 'rgba(0, 0, 0, 0)' && 1.05 / (light(one.color) + 0.05) >= 4.5;
    const faint = chips.filter((one) => !clear(one));
    const box = (selector) => document.querySelector(selector).getBoundingClientRect();
    const last = [...document.querySelectorAll('main > *')].filter((one) => one.offsetHeight).pop();
    document.title = JSON.stringify({
      chips: chips.length, faint: faint.map((one) => one.color), example: box('td[data-name="For example"]').width,
      beside: document.documentElement.clientWidth -
        Math.max(...[...document.querySelectorAll('.tile')].map((one) => one.getBoundingClientRect().right)),
      space: document.documentElement.scrollHeight -
        last.lastElementChild.lastElementChild.getBoundingClientRect().bottom,
    });
    """
    hosts = [*fleets.fleet(900), {"host": "lost", "error": "no route", "volumes": []}]
    found = json.loads(show(hosts, width=PAPER, media="print", doing=doing).all("title")[0].text)
    assert found["chips"] > 300 and not found["faint"]
    assert found["example"] >= 150, "the names of 129 hosts leave no place for it"
    assert found["beside"] >= 1, "the border would be cut off"
    assert found["space"] < 20


def test_what_changed_comes_before_the_rest(show: Show) -> None:
    hosts = fleets.fleet(90)
    document = show(hosts, since=earlier(hosts))
    sections = document.all("section")
    assert [one.attributes["id"] for one in sections[:2]] == ["verdict", "since"]
    assert "Since the last report of yesterday" in sections[1].text
    rows = [row.text for row in sections[1].all("tr")]
    assert len([row for row in rows if row.startswith("worse")]) == len(range(1, 90, 7))
    assert "appeared: kdf-cost (high, keyslot 0)" in rows[1] and "compliant \u2192 findings" in rows[1]
    broken = show(hosts, since=lambda _new: comparison.since({"problem": "No, because.", "hosts": None}, [], "audit"))
    assert "No, because." in broken.all("section")[1].text


@pytest.mark.parametrize("number", [None, 0, 5])
def test_hostile_hosts_stay_text(show: Show, number: t.Optional[int]) -> None:
    """Nothing of theirs runs or becomes an element, in the page or in the details; with the policy of the page switched
    off too.
    """
    fragment = "" if number is None else f"#volume-{number}"
    for doing in ("", "void 0"):
        document = show(fleets.hostile(), fragment=fragment, title="plain", doing=doing)
        assert document.all("title")[0].text == "plain"
        assert not document.all("img") and len(document.all("script")) == (3 if doing else 2)
        assert not [one for one in document.all() if any(name.startswith("on") for name in one.attributes)]
        assert "</script><script>document.title='owned'</script>" in document.text


def test_the_pages_own_policy_lets_its_own_script_run(show: Show) -> None:
    """Without ``doing`` the policy is in force; a wrong hash would leave the page empty."""
    assert show(fleets.fleet(3)).all("html")[0].attributes["data-theme"] in ("light", "dark")


def test_paper_has_all_findings(show: Show) -> None:
    doing = "window.dispatchEvent(new Event('beforeprint'));"
    document = show(fleets.fleet(300), doing=doing)
    paper = document.all("section", class_="only-print")[0].text
    assert paper.count("kdf-cost was found") == len([number for number in range(300) if number % 7 == 1])
    assert "left out" in document.text
    shown = names(document)
    assert "/dev/vda1" in shown and "/dev/vda0" not in shown
    back = show(fleets.fleet(300), doing=doing + "window.dispatchEvent(new Event('afterprint'));")
    assert "/dev/vda0" in names(back)


SOFTENED = {
    "extends": "strict",
    "kdf_types": ["argon2id", "pbkdf2"],
    "minimum_costs": {"pbkdf2": 600000},
    "rules": {"slot-ignored": "off"},
    "accepted": {"slot-ignored": "a spare in the safe"},
}
SCOPE = {"inventory": 40, "targets": ["host-00000", "web-1", "web-2"]}


def audited(hosts: t.Any, asked: t.Any = "strict") -> t.Any:
    """The hosts with the policy that they were audited against."""
    told = {"policy": policy_text.describe(policy.parse(asked, rules.IDS), rules.IDS)}
    return [{**host, "volumes": [{**one, "evidence": told} for one in host["volumes"]]} for host in hosts]


@pytest.mark.parametrize(
    ("hosts", "word"),
    [
        ([], "nothing was seen"),
        ([{"host": "a", "volumes": [fleets.volume(1)]}], "compliant"),
        ([{"host": "a", "volumes": [fleets.volume(1, findings=[fleets.finding("x", "info")])]}], "compliant"),
        ([{"host": "a", "volumes": [fleets.volume(1), fleets.volume(2, "recorded")]}], "compliant by record"),
        ([{"host": "a", "volumes": [fleets.volume(1, "unverified", unverified=[fleets.finding()])]}], "not proven"),
        ([{"host": "a", "volumes": [fleets.volume(1)]}, {"host": "b", "error": "no route"}], "not all was seen"),
        ([{"host": "a", "volumes": [fleets.volume(1), fleets.volume(2, "failed")]}], "not all was seen"),
        ([{"host": "a", "volumes": [fleets.bad_volume(1), fleets.volume(2, "failed")]}], "not compliant"),
        (
            [{"host": "a", "volumes": [fleets.volume(1)], "excluded": [{"volume": "/dev/x", "reason": "a stick"}]}],
            "compliant, as far as audited: 1 volume excluded",
        ),
    ],
)
def test_the_verdict_comes_first(show: Show, hosts: t.Any, word: str) -> None:
    first = show(hosts).all("section")[0]
    assert first.attributes["id"] == "verdict" and [one.text for one in first.all("span", class_="chip")] == [word]


@pytest.mark.parametrize("kind", ["audit", "rotation"])
def test_every_figure_is_that_of_the_json(show: Show, kind: str) -> None:
    rotated = [{"host": "a", "volumes": [fleets.rotated(1)]}, {"host": "b", "state": "beyond"}]
    lost = {"host": "z", "error": "no route", "volumes": []}
    options: t.Dict[str, t.Any] = {"kind": kind, "files": {"json": "luks-audit.json"}}
    if kind == "audit":
        options["scope"] = SCOPE
    hosts = rotated if kind == "rotation" else [*fleets.fleet(3000), lost]
    report = report_data.build(hosts, **options)
    document = show(hosts, **options)
    figures = [one for one in document.all() if "data-figure" in one.attributes]
    assert len(figures) > 6
    for one in figures:
        value: t.Any = report
        for name in one.attributes["data-figure"].split("."):
            value = len(value) if name == "length" else value[name]
        assert one.text == f"{value:,}", one.attributes
    for section in document.all("section", class_="card"):
        if section.attributes.get("id") != "volumes" and "only-print" not in section.attributes["class"]:
            assert "From luks-audit.json: " in section.text, section.text[:40]


def test_what_the_report_covers(show: Show) -> None:
    hosts = fleets.fleet(3)
    hosts[0]["excluded"] = [{"volume": "/dev/sdz", "reason": "a stick"}]
    scope = show([*hosts, {"host": "z", "error": "no route"}], scope=SCOPE).all("section", id="scope")[0].text
    for words in ("inventory40", "play3", "beyond --limit2", "answer1", "web-1", "z: no route", "/dev/sdz: a stick"):
        assert words in scope, words
    assert "inventory is not known" in show(hosts).all("section", id="scope")[0].text


def test_the_policy_in_words(show: Show) -> None:
    section = show(audited(fleets.fleet(3), SOFTENED)).all("section", id="policies")[0]
    lines = {line.text: line.attributes.get("class", "") for line in section.all("li")}
    assert lines["The volume key has at least 64 bytes."] == ""
    changed = [text for text, kind in lines.items() if kind == "changed"]
    assert any(
        text.startswith("Keys are derived with one of these: argon2id, pbkdf2. changed In strict:") for text in changed
    )
    assert any("600,000 iterations. changed" in text for text in changed)
    assert "Findings of slot-ignored are accepted, because: a spare in the safe." in changed
    assert "strict, changed in 3 places, for 3 volumes" in section.text


@pytest.mark.parametrize("key", sorted(policy.KEYS))
def test_every_key_of_a_policy_has_a_sentence(key: str) -> None:
    """A key without one is shown as JSON, which nobody should have to read."""
    source = (page._FOLDER / "script" / "policies.js").read_text(encoding="utf-8")
    assert key in ("extends", "name", "description", "accepted") or re.search(rf'^  "?{key}[:".]', source, re.MULTILINE)


def test_rules_name_all_their_hosts(show: Show) -> None:
    section = show(fleets.fleet(90)).all("section", id="rules")[0].text
    wanted = {f"host-{number // 3:05}" for number in range(90) if number % 7 == 1}
    assert all(name in section for name in wanted) and f"and {len(wanted) - 3} more" in section


CONTRAST = """
const part = (text) => text.match(/[\\d.]+/g).map(Number);
const light = ([red, green, blue]) => [red, green, blue].map((one) => one / 255).map(
  (one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4
).reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
const behind = (one) => {
  const colour = one ? part(getComputedStyle(one).backgroundColor) : [255, 255, 255];
  return colour.length > 3 && colour[3] === 0 ? behind(one.parentElement) : colour;
};
document.documentElement.dataset.theme = THEME;
const poor = new Set();
for (const one of document.querySelectorAll('body *:not(.skip):not(script)')) {
  if (one.namespaceURI.endsWith('svg') || ![...one.childNodes].some((child) => child.nodeType === 3 &&
      child.data.trim())) continue;
  const [first, second] = [light(part(getComputedStyle(one).color)), light(behind(one))].sort().reverse();
  const ratio = (Math.max(first, second) + 0.05) / (Math.min(first, second) + 0.05);
  if (ratio < 4.5) poor.add(one.tagName + '.' + one.className + ' ' + ratio.toFixed(2));
}
document.title = [...poor].join('; ');
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read(show: Show, theme: str) -> None:
    """WCAG 2.1 asks for a contrast of 4.5 to 1."""
    found = [fleets.finding(f"rule-{one}", one) for one in ("critical", "high", "medium", "low", "info")]
    hosts = audited(
        [*fleets.fleet(9), {"host": "b", "volumes": [fleets.volume(1, "findings", findings=found)]}], SOFTENED
    )
    hosts += [{"host": "c", "error": "no", "volumes": [fleets.volume(1, "recorded"), fleets.volume(2, "failed")]}]
    doing = "const style = document.createElement('style'); style.textContent = '* { transition: none !important }';"
    doing += "document.head.append(style);" + CONTRAST.replace("THEME", repr(theme))
    assert show(hosts, doing=doing, since=earlier(hosts)).all("title")[0].text == ""


def test_paper_opens_what_is_folded(show: Show) -> None:
    hosts = fleets.fleet(90)
    document = show(hosts, since=earlier(hosts), doing="window.dispatchEvent(new Event('beforeprint'));")
    folded = document.all("main")[0].all("details")
    assert folded and all("open" in one.attributes for one in folded)
