# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who can write to the folder of the store ``escrow`` is not believed: only what a signer has signed is. openssl is the
judge of what we sign, by the commands of docs/stores.md.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import textwrap
import typing as t

import pytest

pytest.importorskip("cryptography")

from ansible_collections.luksmith.luks.plugins.plugin_utils._audit_store import Entries  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation import signature  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.envelope import seal  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.guarded_file import GuardedFile  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.signature import Signing  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores import StoreError  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores.escrow import Escrow  # noqa: E402
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.fake_world import (  # noqa: E402
    FakeHost,
    rotate,
)
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.test_machine import (  # noqa: E402
    disk,
    one_of,
    options,
)

pytestmark = pytest.mark.needs("openssl")

STORES = pathlib.Path(__file__).resolve().parents[5] / "docs" / "stores.md"
UUID, OTHER = "4b543c86-7353-47b9-b355-d0ef03989991", "8bfe2432-1a23-4d5e-8c89-09c3ab4cd111"
KEY = f"web/{UUID}"
PASSPHRASE = "of the operator"
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


def openssl(*words: t.Union[str, pathlib.Path], content: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *map(str, words)], input=content, check=True, capture_output=True).stdout


class Keys:
    """Certificates and private keys, by name."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

    def make(self, name: str, *words: str) -> str:
        subject = ("-subj", f"/CN={name}", "-days", "2")
        files = ("-keyout", self.folder / f"{name}.key", "-out", self.folder / f"{name}.pem")
        openssl("req", "-x509", "-nodes", *(words or EC), *subject, *files)
        return self.certificate(name)

    def certificate(self, name: str) -> str:
        return str(self.folder / f"{name}.pem")

    def key(self, name: str) -> str:
        return str(self.folder / f"{name}.key")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    made = Keys(tmp_path_factory.mktemp("keys"))
    for name in ("escrow", "alice", "mallory"):
        made.make(name)
    made.make("bob", "-newkey", "rsa:2048", "-addext", "keyUsage=digitalSignature")
    locked = ("-aes256", "-passout", f"pass:{PASSPHRASE}", "-out", made.key("locked"))
    openssl("pkey", "-in", made.key("alice"), *locked)
    return made


class Scene:
    def __init__(self, folder: pathlib.Path, keys: Keys) -> None:
        self.folder, self.keys = folder, keys

    def store(self, who: str = "alice", *signers: str, opens: bool = True, **more: t.Any) -> Escrow:
        """Of a run that signs as ``who`` and believes the ``signers``; "" for neither."""
        believed = [self.keys.certificate(name) for name in signers or ("alice", "bob")] if who else []
        signing = Signing(believed, self.keys.key(who) if who else "")._replace(**more)
        private = pathlib.Path(self.keys.key("escrow")).read_text() if opens else None

        def file(path: str, folder: str) -> GuardedFile:
            return GuardedFile(path, store=folder)

        return Escrow(str(self.folder), [self.keys.certificate("escrow")], private, signing, file)

    def path(self, key: str = KEY) -> pathlib.Path:
        return self.folder / f"{key}.json"

    def document(self, key: str = KEY) -> t.Dict[str, t.Any]:
        return t.cast(t.Dict[str, t.Any], json.loads(self.path(key).read_text()))

    def change(self, **members: t.Any) -> None:
        self.path().write_text(json.dumps({**self.document(), **members}, indent=2, sort_keys=True))

    def sealed(self, identity: str) -> t.Dict[str, t.Any]:
        """What somebody who has the public certificate, and no other key, can put into the folder."""
        bound = {"passphrase": f"planted {identity}", "id": identity, "host": "web", "uuid": UUID}
        text = seal(json.dumps(bound), [self.keys.certificate("escrow")])
        return {"id": identity, "generation": "one", "created": "2026-11-24T01:04:41Z", "sealed": text}

    def refused(self, says: str, store: t.Optional[Escrow] = None) -> None:
        """By reads and by writes, which leave the folder as it is."""
        asked, before = store or self.store(), self.path().read_bytes()
        for ask in (lambda: asked.read(KEY), lambda: asked.known("web/"), lambda: asked.write(KEY, entry("c"), 1)):
            with pytest.raises(StoreError, match=says) as caught:
                ask()
            told = str(caught.value)
            assert str(self.path()) in told and "The store was not changed." in told and "previous-1" in told
            assert "passphrase of" not in told and told.isprintable()
        assert self.path().read_bytes() == before


@pytest.fixture
def scene(tmp_path: pathlib.Path, keys: Keys) -> Scene:
    return Scene(tmp_path, keys)


def entry(current: str, uuid: str = UUID, **more: t.Any) -> t.Dict[str, t.Any]:
    secret = {"id": current, "passphrase": f"passphrase of {current}"}
    place = {"format": 1, "host": "web", "uuid": uuid, "device": "/dev/a"}
    return {**place, "current": secret, "next": None, "older": [], "past": [], **more}


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_openssl_verifies_what_was_signed_by_the_commands_of_the_docs(
    scene: Scene, tmp_path: pathlib.Path, who: str
) -> None:
    scene.store(who).write(KEY, entry("a"), 0)
    assert (scene.store().read(KEY).entry or {})["current"]["passphrase"] == "passphrase of a"
    section = STORES.read_text().split("### Signatures", 1)[1].split("\n## ", 1)[0]
    (script,) = re.findall(r"((?:^    .*\n)+)", section.split("Anybody can check", 1)[1], re.MULTILINE)[:1]
    shutil.copy(scene.keys.certificate(who), tmp_path / "signer.pem")
    shutil.copytree(scene.path().parent, tmp_path / "HOST")
    (tmp_path / "HOST" / f"{UUID}.json").rename(tmp_path / "HOST" / "UUID.json")

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-ec", textwrap.dedent(script)], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    good = check()
    assert good.returncode == 0 and "erification successful" in good.stderr, good
    assert json.loads(good.stdout) == {name: scene.document()[name] for name in ("key", "version", "entry")}
    shutil.copy(scene.keys.certificate("mallory"), tmp_path / "signer.pem")
    assert check().returncode != 0
    shutil.copy(scene.keys.certificate(who), tmp_path / "signer.pem")
    changed = tmp_path / "HOST" / "UUID.json"
    changed.write_text(changed.read_text().replace('"version": 1', '"version": 2'))
    assert check().returncode != 0


def plant(scene: Scene) -> None:
    document = scene.document()
    scene.change(entry={**document["entry"], "next": scene.sealed("aaaaaaaa")})


def no_signature(scene: Scene) -> None:
    document = scene.document()
    del document["signature"]
    scene.path().write_text(json.dumps(document))


def of_another_volume(scene: Scene) -> None:
    """A whole file, signature and all, at the place of another."""
    scene.store().write(f"web/{OTHER}", entry("o", OTHER), 0)
    shutil.copy(scene.path(f"web/{OTHER}"), scene.path())


def of_another_entry(scene: Scene) -> None:
    scene.store().write(f"web/{OTHER}", entry("o", OTHER), 0)
    scene.change(signature=scene.document(f"web/{OTHER}")["signature"])


def other_envelope(scene: Scene) -> None:
    changed = scene.document()["entry"]
    changed["current"] = {**changed["current"], "sealed": scene.sealed(changed["current"]["id"])["sealed"]}
    scene.change(entry=changed)


def by_a_stranger(scene: Scene) -> None:
    """Signed, with the stranger's certificate within the signature."""
    document = scene.document()
    del document["signature"]
    words = ("-signer", scene.keys.certificate("mallory"), "-inkey", scene.keys.key("mallory"))
    text = json.dumps(document, indent=2, sort_keys=True).encode()
    scene.change(signature=openssl("cms", "-sign", "-binary", "-outform", "PEM", *words, content=text).decode())


def by_nobody(scene: Scene) -> None:
    """The form of a signature, with a signer's certificate, in which nobody has signed."""
    words = ("-nocrl", "-certfile", scene.keys.certificate("alice"))
    pem = openssl("crl2pkcs7", *words).decode().replace("PKCS7", "CMS")
    scene.change(signature=pem)


CHANGES: t.Mapping[str, t.Tuple[t.Callable[[Scene], None], str]] = {
    "a staged secret": (plant, "is not what one of rotate_escrow_signers has signed"),
    "no signature": (no_signature, "has no signature, and only what one of rotate_escrow_signers has signed"),
    "another volume": (of_another_volume, f"was signed for 'web/{OTHER}' and not for '{KEY}'"),
    "another entry": (of_another_entry, "is not what one of"),
    "another envelope": (other_envelope, "is not what one of"),
    "version": (lambda scene: scene.change(version=7), "is not what one of"),
    "host": (lambda scene: scene.change(entry={**scene.document()["entry"], "host": "db"}), "is not what one of"),
    "a member more": (lambda scene: scene.change(more=1), "is not what one of"),
    "a stranger": (by_a_stranger, "is not what one of"),
    "nobody": (by_nobody, "is not what one of"),
    "half of it": (
        lambda scene: scene.change(signature=scene.document()["signature"][:200]),
        "is not what one of",
    ),
    "no text": (lambda scene: scene.change(signature=None), "has no signature"),
    "other characters": (lambda scene: scene.change(signature="\u2028\0"), "is not what one of"),
    "too large": (lambda scene: scene.change(signature="x" * (1 << 20)), "is not what one of"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_no_signer_has_signed_is_refused(scene: Scene, change: str) -> None:
    work, says = CHANGES[change]
    scene.store().write(KEY, entry("a"), 0)
    work(scene)
    scene.refused(says)
    if change != "no signature":
        scene.refused(says if says.startswith(("is", "was")) else "has no signature", scene.store(accept_unsigned=True))


def test_a_planted_secret_comes_to_no_volume_and_is_no_evidence(scene: Scene) -> None:
    """It would be taken up: it opens a keyslot of the one who planted it, which no record names."""
    volume = disk()
    volume.slots[5] = "planted aaaaaaaa"
    host = FakeHost({"/dev/a": volume})
    assert one_of(rotate(options("one", unknown="report"), host, scene.store())[0]).state == "done"
    plant(scene)
    before = scene.path().read_bytes(), dict(volume.slots)
    for generation in ("one", "two"):
        found = one_of(rotate(options(generation), host, scene.store())[0])
        assert found.state == "refused" and "is not what one of rotate_escrow_signers has signed" in found.msg
    assert (scene.path().read_bytes(), dict(volume.slots)) == before
    given = {"rotate_store_prefix": "", "rotate_groups": [], "rotate_keeps": [], "rotate_replaces": []}
    (item,) = Entries(scene.store(), "web", given).listed() or ()
    assert "is not what one of rotate_escrow_signers has signed" in item["problem"] and not item["secrets"]


def test_a_signer_who_is_not_believed_any_more(scene: Scene) -> None:
    scene.store("bob").write(KEY, entry("a"), 0)
    scene.refused("its signer is not in the list", scene.store("alice", "alice"))


def test_what_was_written_before_there_were_signers_is_signed_once(scene: Scene) -> None:
    scene.store("").write(KEY, entry("a"), 0)
    scene.refused("has no signature")
    once = scene.store(accept_unsigned=True)
    read = once.read(KEY)
    assert once.write(KEY, entry("b"), read.version).version == 2
    assert (scene.store().read(KEY).entry or {})["current"]["id"] == "b"


def test_a_signed_entry_does_not_lose_its_signature(scene: Scene) -> None:
    """To a run of somebody who has forgotten the variables."""
    scene.store().write(KEY, entry("a"), 0)
    before = scene.path().read_bytes()
    assert scene.store("").read(KEY).version == 1
    with pytest.raises(StoreError, match=r"would write it without a signature.*The store was not changed\."):
        scene.store("").write(KEY, entry("b"), 1)
    assert scene.path().read_bytes() == before


def test_who_only_reads_needs_no_key_that_signs(scene: Scene) -> None:
    scene.store().write(KEY, entry("a"), 0)
    reader = scene.store(key="", opens=False)
    assert reader.read(KEY).version == 1
    for ask in (reader.check, lambda: reader.write(KEY, entry("b"), 1)):
        with pytest.raises(StoreError, match=r"Give the run rotate_escrow_signing_key.*The store was not changed\."):
            ask()


def test_a_key_with_a_passphrase(scene: Scene, capfd: pytest.CaptureFixture[str]) -> None:
    scene.store(key=scene.keys.key("locked"), passphrase=PASSPHRASE).write(KEY, entry("a"), 0)
    assert scene.store().read(KEY).version == 1
    for wrong in (None, "", "another one"):
        store = scene.store(key=scene.keys.key("locked"), passphrase=wrong)
        with pytest.raises(StoreError, match="is rotate_escrow_signing_passphrase its passphrase") as caught:
            store.check()
        assert PASSPHRASE not in str(caught.value) and "another one" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_the_passphrase_is_in_no_argument_and_no_environment(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: t.List[str] = []
    run = subprocess.run

    def watched(words: t.Sequence[str], **more: t.Any) -> t.Any:
        asked.append(f"{words} {more.get('env')} {os.environ}")
        return run(words, check=more.pop("check", False), **more)

    monkeypatch.setattr(subprocess, "run", watched)
    scene.store(key=scene.keys.key("locked"), passphrase=PASSPHRASE).write(KEY, entry("a"), 0)
    assert len(asked) > 3 and not [one for one in asked if PASSPHRASE in one or "passphrase of a" in one]


def test_keys_and_certificates_that_are_of_no_use(scene: Scene, tmp_path: pathlib.Path) -> None:
    keys = Keys(tmp_path)
    keys.make("short", "-newkey", "rsa:1024")
    keys.make("eddsa", "-newkey", "ed25519")
    keys.make("seals", *EC, "-addext", "keyUsage=keyAgreement")
    os.mkfifo(tmp_path / "fifo.key")
    for name, says in (
        ("short", r"short\.pem has 1024 bits; at least 2048 are needed to believe"),
        ("eddsa", r"eddsa\.pem is for a kind of key with which openssl 3\.0 makes no CMS signature"),
        ("seals", r"seals\.pem is not for signatures: its key usage does not have digitalSignature"),
    ):
        with pytest.raises(StoreError, match=f"{says}.*The store was not changed"):
            scene.store(signers=[keys.certificate(name)], key=keys.key(name)).check()
    for more, says in (
        ({"key": scene.keys.key("mallory")}, "none of the certificates of rotate_escrow_signers is of the private key"),
        ({"key": keys.key("none")}, r"none\.key, the private key that signs, cannot be read: No such file"),
        ({"key": keys.key("fifo")}, r"fifo\.key is no regular file"),
        ({"key": scene.keys.certificate("alice")}, "could not read the private key"),
        ({"signers": []}, "needs rotate_escrow_signers"),
    ):
        with pytest.raises(StoreError, match=f"{says}.*The store was not changed"):
            scene.store(**t.cast(t.Any, more)).check()
    scene.store().check()
    assert not list(scene.folder.glob("web/*.json"))


def test_an_expired_certificate_signs_nothing_and_is_believed_for_what_it_signed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.store("alice", "alice").write(KEY, entry("a"), 0)
    begin, _end = signature.validity(signature.load_certificate(scene.keys.certificate("alice")))
    monkeypatch.setattr(signature, "validity", lambda _certificate: (begin, begin))
    with pytest.raises(StoreError, match=r"alice\.pem of the private key that signs is not valid today"):
        scene.store("alice", "alice").write(KEY, entry("b"), 1)
    assert scene.store("alice", "alice").read(KEY).version == 1
