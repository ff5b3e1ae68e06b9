# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ciphers other than AES: the vectors of their specifications through every library, libraries against each other, and
which of them is asked.
"""

from __future__ import annotations

import itertools
import os
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import (
    aes,
    block_ciphers,
    cipher,
    gcrypt,
    hashes,
    host,
    libcrypto,
    nettle,
    whitening,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.cipher_table import CIPHERS, BlockCipher
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.providers import NotProvided
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import MalformedHeader, Unsupported
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.crypto.one_provider import named

KEY = "0123456789abcdeffedcba98765432100011223344556677"
COUNTING = "00112233445566778899aabbccddeeff"
# Cipher, key, plaintext, ciphertext. Sources: Serpent: NESSIE, set 1, vector 0; Twofish: the authors' ecb_tbl.txt;
# Camellia: RFC 3713; CAST5: RFC 2144; ARIA: RFC 5794; SM4: GB/T 32907; SEED: RFC 4269; Triple DES: NIST SP 800-67.
VECTORS = [
    ("serpent", "80" + "00" * 15, "00" * 16, "264e5481eff42a4606abda06c0bfda3d"),
    ("serpent", "80" + "00" * 23, "00" * 16, "9e274ead9b737bb21efcfca548602689"),
    ("serpent", "80" + "00" * 31, "00" * 16, "a223aa1288463c0e2be38ebd825616c0"),
    ("twofish", "00" * 16, "00" * 16, "9f589f5cf6122c32b6bfec2f2ae8c35a"),
    ("twofish", KEY, "00" * 16, "cfd1d2e5a9be9cdf501f13b892bd2248"),
    ("twofish", f"{KEY}8899aabbccddeeff", "00" * 16, "37527be0052334b89f0cfccae87cfa20"),
    ("camellia", KEY[:32], KEY[:32], "67673138549669730857065648eabe43"),
    ("camellia", KEY, KEY[:32], "b4993401b3e996f84ee5cee7d79b09b9"),
    ("camellia", f"{KEY}8899aabbccddeeff", KEY[:32], "9acc237dff16d76c20ef7c919e3a7509"),
    ("cast5", "0123456712345678234567893456789a", "0123456789abcdef", "238b4fe5847e44b2"),
    ("aria", bytes(range(16)).hex(), COUNTING, "d718fbd6ab644c739da95f3be6451778"),
    ("aria", bytes(range(24)).hex(), COUNTING, "26449c1805dbe7aa25a468ce263a9e79"),
    ("aria", bytes(range(32)).hex(), COUNTING, "f92bd7c79fb72e2f2b8f80c1972d24fc"),
    ("sm4", KEY[:32], KEY[:32], "681edf34d206965e86b3e94f536e4246"),
    ("seed", "00" * 16, bytes(range(16)).hex(), "5ebac6e0054e166819aff1cc6d346cdb"),
    ("des3_ede", "0123456789abcdef23456789abcdef01456789abcdef0123", "5468652071756663", "a826fd8ce53b855f"),
]
MODES = ("xts", "cbc", "ctr", "ecb")


def ability(provider: block_ciphers.CipherProvider, one: BlockCipher, mode: str, size: int) -> t.Any:
    try:
        return provider.ability(one, mode, size)
    except NotProvided as reason:
        pytest.skip(f"{provider.name}: {reason}")


def crypted(crypt: t.Any, key: bytes, iv: bytes, data: bytes, encrypt: bool) -> bytes:
    buffer, half = bytearray(data), len(data) // 2
    crypt(key, [(0, half, iv), (half, len(data), iv)], buffer, encrypt)
    return bytes(buffer)


@pytest.mark.parametrize("provider", block_ciphers.PROVIDERS, ids=named)
@pytest.mark.parametrize(("name", "key", "plain", "expected"), VECTORS, ids=lambda value: str(value)[:8])
def test_vectors(provider: block_ciphers.CipherProvider, name: str, key: str, plain: str, expected: str) -> None:
    crypt = ability(provider, CIPHERS[name], "ecb", len(key) // 2)
    buffer = bytearray.fromhex(plain)
    crypt(bytes.fromhex(key), [(0, len(buffer), b"")], buffer, True)
    assert buffer.hex() == expected
    crypt(bytes.fromhex(key), [(0, len(buffer), b"")], buffer, False)
    assert buffer.hex() == plain


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("name", "size"), [(one.name, size) for one in CIPHERS.values() for size in one.sizes], ids=str
)
def test_libraries_agree(name: str, size: int, mode: str) -> None:
    """Every library that has the mode, and XTS over every library's ECB."""
    one = CIPHERS[name]
    if mode == "xts" and one.block != 16:
        return
    key = os.urandom(size * (2 if mode == "xts" else 1))
    iv, data = b"" if mode == "ecb" else os.urandom(one.block), os.urandom(1024)
    seen: t.Dict[str, bytes] = {}
    for provider in block_ciphers.PROVIDERS:
        for made, title in ((lambda crypt: crypt, ""), (whitening.xts, " over its ECB")):
            try:
                crypt = made(provider.ability(one, "ecb" if title else mode, size))
            except NotProvided:
                continue
            if not title or mode == "xts":
                seen[provider.name + title] = crypted(crypt, key, iv, data, True)
                assert crypted(crypt, key, iv, seen[provider.name + title], False) == data, provider.name
    assert len(set(seen.values())) <= 1, seen
    if seen:
        crypt = block_ciphers.crypt_function(one, mode, size)
        assert crypted(crypt, key, iv, data, True) in seen.values()


def test_lrw_vector() -> None:
    """IEEE P1619 (draft of 2004), LRW-AES-128, the first vector."""
    key = bytes.fromhex("4562ac25f828176d4c268414b5680185258e2a05e73e9d03ee5a830ccc094c87")
    crypt = block_ciphers.crypt_function(CIPHERS["aes"], "lrw", 16)
    buffer = bytearray(b"0123456789ABCDEF")
    crypt(key, [(0, 16, (1).to_bytes(16, "big"))], buffer, True)
    assert buffer.hex() == "f1b273cd65a3df5fe95d489254634eb8"


def test_lrw_counts_blocks_across_sectors() -> None:
    """What is computed block by block from the definition is what the running mask gives."""
    key, data = bytes(range(40)), os.urandom(1024)
    whole = cipher.encrypt("serpent-lrw-benbi", key, data)
    crypt = block_ciphers.crypt_function(CIPHERS["serpent"], "lrw", 24)
    single = bytearray(data)
    for number, start in enumerate(range(0, len(data), 16), 1):
        piece = bytearray(data[start : start + 16])
        crypt(key, [(0, 16, number.to_bytes(16, "big"))], piece, True)
        single[start : start + 16] = piece
    assert whole == single
    assert cipher.decrypt("serpent-lrw-benbi", key, whole) == data


SPECS = [
    ("serpent-xts-plain64", 64),
    ("serpent-cbc-essiv:sha256", 32),
    ("twofish-xts-plain", 48),
    ("twofish-ctr-plain64", 32),
    ("twofish-cbc-plain64be", 24),
    ("camellia-xts-plain64", 64),
    ("camellia-cbc-null", 24),
    ("cast5-cbc-plain64", 16),
    ("cast5-cbc-essiv:md5", 16),
    ("cast5-cbc-benbi", 16),
    ("aes-xts-plain64", 48),
    ("aes-lrw-benbi", 32),
    ("aes-lrw-plain64", 48),
    ("aes-cbc-essiv:wp256", 32),
    ("aria-xts-plain64", 64),
    ("sm4-xts-plain64", 32),
    ("des3_ede-cbc-plain64", 24),
]


@pytest.mark.parametrize(("encryption", "size"), SPECS)
def test_notations_of_the_kernel(encryption: str, size: int) -> None:
    try:
        cipher.check(encryption, size)
    except Unsupported as reason:
        pytest.skip(str(reason.why))
    key, data = os.urandom(size), os.urandom(3 * 512)
    encrypted = cipher.encrypt(encryption, key, data)
    assert encrypted != data and cipher.decrypt(encryption, key, encrypted) == data
    # Each sector has an IV of its own, unless the generator gives none.
    repeated = bytes(cipher.encrypt(encryption, key, data[:512] * 2))
    assert (repeated[:512] == repeated[512:]) is encryption.endswith("-null")


@pytest.mark.parametrize(
    ("generator", "expected"),
    [
        ("null", ["00" * 8] * 3),
        ("plain", ["00" * 8, "01" + "00" * 7, "02" + "00" * 7]),
        ("plain64", ["00" * 8, "01" + "00" * 7, "02" + "00" * 7]),
        ("plain64be", ["00" * 8, "00" * 7 + "01", "00" * 7 + "02"]),
        ("benbi", ["00" * 7 + "01", "00" * 7 + "41", "00" * 7 + "81"]),
    ],
)
def test_ivs_of_blocks_of_eight_bytes(generator: str, expected: t.List[str]) -> None:
    """CBC decrypts the first block to itself combined with the IV: the difference from ECB is the IV."""
    key, data = os.urandom(16), os.urandom(3 * 512)
    chained = cipher.decrypt(f"cast5-cbc-{generator}", key, data)
    plain = cipher.decrypt("cast5-ecb", key, data)
    seen = [
        bytes(a ^ b for a, b in itertools.islice(zip(chained[start:], plain[start:]), 8)).hex()
        for start in range(0, len(data), 512)
    ]
    assert seen == expected


@pytest.mark.parametrize(
    ("encryption", "size", "says"),
    [
        ("serpent-xts-plain64", 33, "the key must have 32 or 48 or 64 bytes"),
        ("cast5-cbc-plain", 32, "the key must have 16 bytes"),
        ("aes-lrw-benbi", 16, "the key must have 32 or 40 or 48 bytes"),
        ("cast5-xts-plain64", 32, "needs blocks of 16 bytes"),
        ("cast5-lrw-benbi", 32, "needs blocks of 16 bytes"),
        ("cast5-cbc-essiv:sha256", 16, "a digest of 32 bytes cannot be a key of CAST5"),
    ],
)
def test_what_cannot_be_is_malformed(encryption: str, size: int, says: str) -> None:
    with pytest.raises(MalformedHeader) as caught:
        cipher.check(encryption, size)
    assert says in str(caught.value.why)


@pytest.mark.parametrize("encryption", ["cast6-xts-plain64", "anubis-cbc-plain", "xchacha12,aes-adiantum-plain64"])
def test_what_no_library_has_is_told_with_the_size_of_its_key_and_the_way_out(encryption: str) -> None:
    with pytest.raises(Unsupported) as caught:
        cipher.check(encryption, 32)
    assert "256 bits" in str(caught.value.why)
    assert "luksConvertKey --keyslot-cipher aes-xts-plain64" in str(caught.value.remedy)


def without_libraries(monkeypatch: pytest.MonkeyPatch, *present: object) -> None:
    monkeypatch.setattr(block_ciphers, "PROVIDERS", list(present))


def test_a_host_without_nettle_and_libgcrypt_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = block_ciphers.Nettle(["libnettle.so.none"]), block_ciphers.Gcrypt(["libgcrypt.so.none"])
    without_libraries(monkeypatch, *absent, block_ciphers.Libcrypto())
    with pytest.raises(Unsupported) as caught:
        cipher.check("serpent-xts-plain64", 64)
    why = str(caught.value.why)
    assert "Serpent-256 in mode xts" in why and "512 bits" in why
    assert "libnettle.so.none" in why and "libgcrypt.so.none" in why
    assert "install Nettle (libnettle8) or Libgcrypt (libgcrypt20)" in str(caught.value.remedy)
    cipher.check("aes-xts-plain64", 64)


@pytest.mark.parametrize("name", ["aes", "camellia", "aria"])
def test_libcrypto_alone_has_xts_with_every_key(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    provider = block_ciphers.Libcrypto()
    ability(provider, CIPHERS[name], "ecb", 24)
    without_libraries(monkeypatch, provider)
    monkeypatch.setattr(aes, "PROVIDERS", [aes.Libcrypto()])
    key, data = os.urandom(48), os.urandom(512 * 3)
    assert cipher.decrypt(f"{name}-xts-plain64", key, cipher.encrypt(f"{name}-xts-plain64", key, data)) == data


@pytest.mark.parametrize("load", [nettle.load, gcrypt.load], ids=["nettle", "gcrypt"])
def test_no_library_outside_the_validated_one_in_fips_mode(
    load: t.Callable[[], object], monkeypatch: pytest.MonkeyPatch, tmp_path: t.Any
) -> None:
    flag = tmp_path / "sys" / "crypto" / "fips_enabled"
    flag.parent.mkdir(parents=True)
    monkeypatch.setattr(host, "PROC", str(tmp_path))
    flag.write_text("1\n")
    with pytest.raises(NotProvided, match="FIPS"):
        load()
    flag.write_text("0\n")
    try:
        load()
    except NotProvided as reason:
        assert "FIPS" not in str(reason)


def test_a_name_without_the_cipher_behind_it_is_not_provided() -> None:
    """OpenSSL 3 has the functions of SEED, and without its legacy provider nothing that they call."""
    if "OpenSSL 1." in libcrypto.load().version:
        pytest.skip("before 3.0 every cipher is there")
    with pytest.raises(NotProvided):
        block_ciphers.Libcrypto().ability(CIPHERS["seed"], "cbc", 16)


def test_key_schedules_are_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    wiped: t.List[int] = []

    def wipe(*buffers: bytearray) -> None:
        for buffer in buffers:
            wiped.append(len(buffer))
            buffer[:] = bytes(len(buffer))

    library = nettle.load() if ability(block_ciphers.PROVIDERS[0], CIPHERS["serpent"], "ecb", 32) else None
    assert library
    monkeypatch.setattr("ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.memory.wipe", wipe)
    library.crypt("serpent256", "xts", bytes(range(64)), [(0, 512, bytes(16))], bytearray(512), True)
    context = library._ciphers["serpent256"].context_size
    assert wiped.count(context + 1) == 2  # of the data's key and of the tweak's


@pytest.mark.parametrize(("mode", "sizes"), [(whitening.xts, [16, 32]), (whitening.lrw, [32])])
def test_the_masks_of_a_mode_are_wiped(monkeypatch: pytest.MonkeyPatch, mode: t.Any, sizes: t.List[int]) -> None:
    """They come from the key: those of XTS from its second half, those of LRW from its last 16 bytes."""
    wiped: t.List[bytearray] = []
    monkeypatch.setattr(whitening, "wipe", lambda *buffers: wiped.extend(buffers))
    mode(lambda _key, _chunks, _buffer, _encrypt: None)(bytes(range(32)), [(0, 32, b"i" * 16)], bytearray(32), True)
    assert [len(buffer) for buffer in wiped] == sizes and all(any(buffer) for buffer in wiped)


def test_a_size_that_a_cipher_does_not_have_is_named() -> None:
    try:
        gcrypt.load()
    except NotProvided as reason:
        pytest.skip(str(reason))
    with pytest.raises(NotProvided, match="no Serpent with such a key"):
        block_ciphers.Gcrypt().ability(CIPHERS["serpent"], "ecb", 7)


def test_a_libgcrypt_that_refuses_to_begin_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        @staticmethod
        def gcry_check_version(_wanted: None) -> None:
            return None

        @staticmethod
        def gcry_control(*_arguments: t.Any) -> int:
            return 0

    monkeypatch.setattr(gcrypt, "opened", lambda _name, _prototypes: Old())
    with pytest.raises(NotProvided, match="could not be initialized"):
        gcrypt.LibGcrypt("libgcrypt.so.20")


def test_each_call_of_libgcrypt_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told once to begin; a handle that was opened is closed; what this build lacks is said."""
    said: t.List[t.Any] = []

    class Library:
        def __getattr__(self, name: str) -> t.Any:
            def call(*given: t.Any) -> t.Any:
                said.append(name if name != "gcry_control" else given[0].value)
                return {"gcry_check_version": b"1.10", "gcry_strerror": b"it is not here"}.get(
                    name, 5 if name.endswith("algo_info") else 0
                )

            return call

    monkeypatch.setattr(gcrypt, "opened", lambda _name, _prototypes: Library())
    library = gcrypt.LibGcrypt("libgcrypt.so.20")
    begin = [gcrypt._IS_INITIALIZED, gcrypt._DISABLE_SECURE_MEMORY, gcrypt._INITIALIZED]
    assert said == ["gcry_check_version", *begin]
    del said[:]
    library.crypt(7, "ecb", bytes(16), [(0, 16, b"")], bytearray(16), True)
    assert said == ["gcry_cipher_open", "gcry_cipher_setkey", "gcry_cipher_encrypt", "gcry_cipher_close"]
    for lacks in (library.has_cipher, library.has_hash):
        with pytest.raises(NotProvided, match="it is not here"):
            lacks(7)
    asked: t.List[t.Any] = []
    monkeypatch.setattr(gcrypt, "load", lambda: types.SimpleNamespace(has_hash=asked.append))
    names: t.Any = types.SimpleNamespace(gcrypt=3)
    hashes.Gcrypt._library(names)
    assert asked == [3]
