# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AES in LUKS modes: NIST and IEEE 1619 vectors through every library, IVs by their definition, and every refusal."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import aes, block_ciphers, cipher
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import MalformedHeader, Unsupported
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.crypto.one_provider import alone, named
from hypothesis import given, settings
from hypothesis import strategies as st

# NIST SP 800-38A appendix F: keys, four blocks of plaintext, and the first CBC IV (F.2).
KEYS = {
    16: bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"),
    24: bytes.fromhex("8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b"),
    32: bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"),
}
PLAIN = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
CBC_IV = bytes(range(16))
CBC = {
    16: (
        "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
        "73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7"
    ),
    24: (
        "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a"
        "571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd"
    ),
    32: (
        "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
        "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b"
    ),
}
ECB = {
    16: (
        "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf"
        "43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4"
    ),
    24: (
        "bd334f1d6e45f25ff712a214571fa5cc974104846d0ad3ad7734ecb3ecee4eef"
        "ef7afd2270e2e60adce0ba2face6444e9a4b41ba738d6c72fb16691603c18e0e"
    ),
    32: (
        "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870"
        "b6ed21b99ca6f4f9f153e7b1beafed1d23304b7a39f9f3ff067d8d8f9e24ecc7"
    ),
}

# IEEE 1619-2007 appendix B, vectors 4 (sector 0), 5 (sector 1, its plaintext is the ciphertext of 4) and 10 (sector
# 255).
XTS_128 = bytes.fromhex("2718281828459045235360287471352631415926535897932384626433832795")
XTS_256 = bytes.fromhex(
    "27182818284590452353602874713526624977572470936999595749669676273141592653589793238462643383279502884197169399375105820974944592"
)
XTS_PLAIN = bytes(range(256)) * 2
VECTOR_4 = (
    "27a7479befa1d476489f308cd4cfa6e2a96e4bbe3208ff25287dd3819616e89c",
    "ebee4d64dd2395bb2d6a2d37a0a48ecb2bf4913cfc99d27c2214f2f4144715ea",
)
VECTOR_5 = (
    "264d3ca8512194fec312c8c9891f279fefdd608d0c027b60483a3fa811d65ee5",
    "bed1b9d9bf8ce83a2ae1981fbd5f2b0c40e21bba5d57df2ea16ecd0975f25215",
)
VECTOR_10 = (
    "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b",
    "e97e974fa393af794f7a4684395814cf820de60a01eaec677d87b452e316b364",
)

SPECS = [
    ("aes-xts-plain64", 32),
    ("aes-xts-plain64", 64),
    ("aes-xts-plain", 64),
    ("aes-xts-essiv:sha256", 64),
    ("aes-cbc-essiv:sha256", 16),
    ("aes-cbc-essiv:sha256", 24),
    ("aes-cbc-essiv:md5", 32),
    ("aes-cbc-plain", 24),
    ("aes-cbc-plain64", 32),
    ("aes-cbc-plain64:sha256", 32),
    ("aes-ctr-plain64", 16),
    ("aes-ecb", 16),
    ("aes-ecb", 24),
    ("aes-ecb", 32),
]

each_provider = pytest.mark.parametrize("provider", aes.PROVIDERS, ids=named)


@contextlib.contextmanager
def only(provider: aes.AesProvider) -> t.Iterator[None]:
    others = block_ciphers.PROVIDERS[:]
    with alone(aes.PROVIDERS, provider, lambda one: one.ability("xts", 256)):
        block_ciphers.PROVIDERS[:] = []
        try:
            yield
        finally:
            block_ciphers.PROVIDERS[:] = others


def xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right))


def key_of(size: int) -> bytes:
    return hashlib.shake_128(b"key").digest(size)


def looks_like(block: t.Union[bytes, bytearray], vector: t.Tuple[str, str]) -> bool:
    return block.hex().startswith(vector[0]) and hashlib.sha256(block).hexdigest() == vector[1]


@each_provider
@pytest.mark.parametrize("size", KEYS)
def test_nist_ecb(provider: aes.AesProvider, size: int) -> None:
    with only(provider):
        assert cipher.encrypt("aes-ecb", KEYS[size], PLAIN * 8) == bytes.fromhex(ECB[size]) * 8
        assert cipher.decrypt("aes-ecb", bytearray(KEYS[size]), bytes.fromhex(ECB[size]) * 8) == PLAIN * 8


@each_provider
@pytest.mark.parametrize("size", KEYS)
def test_nist_cbc(provider: aes.AesProvider, size: int) -> None:
    # The IV of sector 0 is zero; the vector's IV goes into its first block, which CBC makes the same thing.
    sector = xor(PLAIN[:16], CBC_IV) + PLAIN[16:] + bytes(448)
    with only(provider):
        encrypted = cipher.encrypt("aes-cbc-plain", KEYS[size], sector)
        assert encrypted[:64].hex() == CBC[size]
        assert cipher.decrypt("aes-cbc-plain64", KEYS[size], encrypted) == sector


@each_provider
def test_ieee_xts_128(provider: aes.AesProvider) -> None:
    with only(provider):
        first = cipher.encrypt("aes-xts-plain64", XTS_128, XTS_PLAIN)
        assert looks_like(first, VECTOR_4)
        both = cipher.encrypt("aes-xts-plain", XTS_128, XTS_PLAIN + first)
        assert looks_like(both[512:], VECTOR_5)
        assert cipher.decrypt("aes-xts-plain64", XTS_128, both) == XTS_PLAIN + first


@each_provider
def test_ieee_xts_256(provider: aes.AesProvider) -> None:
    with only(provider):
        encrypted = cipher.encrypt("aes-xts-plain64", XTS_256, bytes(255 * 512) + XTS_PLAIN)
        assert looks_like(encrypted[-512:], VECTOR_10)


@each_provider
@pytest.mark.parametrize("iv_hash", ["sha256", "md5", "SHA256", "blake2s-256"])
def test_essiv_by_its_definition(provider: aes.AesProvider, iv_hash: str) -> None:
    key = key_of(32)
    salt = hashlib.new({"blake2s-256": "blake2s"}.get(iv_hash, iv_hash.lower()), key).digest()
    sectors = [bytes([number]) * 512 for number in range(3)]
    with only(provider):
        encrypted = cipher.encrypt(f"aes-cbc-essiv:{iv_hash}", key, b"".join(sectors))
        for number, sector in enumerate(sectors):
            iv = bytes(cipher.encrypt("aes-ecb", salt, number.to_bytes(512, "little")))[:16]
            alike = cipher.encrypt("aes-cbc-plain", key, xor(sector[:16], iv) + sector[16:])
            assert encrypted[number * 512 :][:512] == alike


@each_provider
def test_ctr_counts_from_the_sector_number(provider: aes.AesProvider) -> None:
    key = key_of(16)
    with only(provider):
        stream = cipher.encrypt("aes-ctr-plain64", key, bytes(1024))
        counter = (1).to_bytes(16, "little")
        blocks = [counter, counter[:-1] + b"\1"]
        assert stream[512:544] == cipher.encrypt("aes-ecb", key, b"".join(blocks) + bytes(480))[:32]


@pytest.mark.parametrize(("encryption", "size"), SPECS)
def test_all_libraries_agree_and_turn_back(encryption: str, size: int) -> None:
    data = bytearray(hashlib.shake_128(b"data").digest(5 * 512))
    cipher.check(encryption, size)
    seen = set()
    for provider in aes.PROVIDERS[:]:
        try:
            provider.ability("xts", 256)
        except aes.NotProvided:
            continue
        with only(provider):
            encrypted = cipher.encrypt(encryption, memoryview(key_of(size)), data)
            assert cipher.decrypt(encryption, key_of(size), memoryview(encrypted)) == data
            seen.add(bytes(encrypted))
    assert len(seen) == 1
    assert bytes(data) not in seen


@settings(deadline=None)
@given(
    data=st.binary(min_size=512, max_size=512),
    sectors=st.integers(1, 4),
    spec=st.sampled_from(SPECS),
    key=st.binary(min_size=64, max_size=64),
)
def test_decrypt_undoes_encrypt(data: bytes, sectors: int, spec: t.Tuple[str, int], key: bytes) -> None:
    encryption, size = spec
    if encryption.startswith("aes-xts") and key[: size // 2] == key[size // 2 : size]:
        with pytest.raises(Unsupported):
            cipher.encrypt(encryption, key[:size], data)
        return
    assert (
        cipher.decrypt(encryption, key[:size], cipher.encrypt(encryption, key[:size], data * sectors)) == data * sectors
    )


@pytest.mark.parametrize(
    "encryption",
    [
        "cast6-xts-plain64",
        "anubis-cbc-essiv:sha256",
        "aes-adiantum-plain64",
        "aes-cbc-lmk",
        "aes-cbc-tcw",
        "aes-cbc-eboiv",
        "aes-xts-random",
        "aes-cbc",
        "aes",
        "AES-xts-plain64",
        "",
        "-",
        "aes--",
        "capi:xts(aes)-plain64",
        "capi:cbc(aes)-essiv:sha256",
        "null",
        "cipher_null",
        "cipher_null-ecb",
        "null-ecb",
        "cipher_null-xts-plain64",
        "aes-cbc-essiv:sha255",
    ],
)
def test_what_nobody_provides_is_named(encryption: str) -> None:
    calls: t.List[t.Callable[[], object]] = [
        lambda: cipher.check(encryption, 32),
        lambda: cipher.decrypt(encryption, key_of(32), bytes(512)),
        lambda: cipher.encrypt(encryption, key_of(32), bytes(512)),
    ]
    for call in calls:
        with pytest.raises(Unsupported) as caught:
            call()
        assert caught.value.name in (encryption, encryption.rpartition(":")[2])
        assert caught.value.what in ("cipher", "hash")


@pytest.mark.parametrize("encryption", ["null", "cipher_null", "cipher_null-ecb", "null-cbc-essiv:sha256"])
def test_null_cipher_is_refused_for_what_it_is(encryption: str) -> None:
    with pytest.raises(Unsupported, match="stores the key in plain text"):
        cipher.check(encryption, 32)


@pytest.mark.parametrize(
    ("encryption", "size"),
    [
        ("aes-xts-plain64", 16),
        ("aes-xts-plain64", 33),
        ("aes-xts-plain64", 63),
        ("aes-xts-plain64", 128),
        ("aes-xts-plain64", 0),
        ("aes-xts-plain64", -32),
        ("aes-cbc-plain", 64),
        ("aes-cbc-plain", 0),
        ("aes-ecb", 31),
        ("aes-cbc-essiv", 32),
        ("aes-cbc-essiv:", 32),
        ("aes-cbc-essiv:sha1", 32),
        ("aes-cbc-essiv:sha512", 32),
    ],
)
def test_what_cannot_be_is_malformed(encryption: str, size: int) -> None:
    with pytest.raises(MalformedHeader):
        cipher.check(encryption, size)


def test_essiv_needs_a_hash_that_makes_a_key() -> None:
    with pytest.raises(MalformedHeader, match=r"(?i)a digest of 64 bytes cannot be a key of AES"):
        cipher.check("aes-cbc-essiv:sha512", 32)


@each_provider
def test_xts_with_aes_192_is_made_of_the_blocks_of_any_library(provider: aes.AesProvider) -> None:
    """libcrypto and cryptography have no AES-192 in XTS; Nettle and Libgcrypt do."""
    data = bytearray(hashlib.shake_128(b"data").digest(5 * 512))
    native = cipher.encrypt("aes-xts-plain64", key_of(48), data)
    with only(provider):
        assert cipher.encrypt("aes-xts-plain64", key_of(48), data) == native
        assert cipher.decrypt("aes-xts-plain64", key_of(48), native) == data


@each_provider
@pytest.mark.parametrize("size", [32, 64])
def test_equal_halves_of_an_xts_key_are_refused(provider: aes.AesProvider, size: int) -> None:
    with only(provider):
        for call in (cipher.encrypt, cipher.decrypt):
            with pytest.raises(Unsupported, match="halves of its key are equal"):
                call("aes-xts-plain64", bytearray(b"k" * size), bytes(512))


@pytest.mark.parametrize("size", [0, 1, 511, 513, 96000])
def test_partial_sectors_are_refused(size: int) -> None:
    with pytest.raises(MalformedHeader, match="whole sectors"):
        cipher.decrypt("aes-cbc-plain", key_of(24), bytes(size))


def test_input_is_left_alone() -> None:
    key, data = bytearray(key_of(32)), bytearray(512)
    cipher.encrypt("aes-xts-plain64", key, data)
    assert (bytes(key), bytes(data)) == (key_of(32), bytes(512))


def test_order_of_the_ladder() -> None:
    assert [provider.name for provider in aes.PROVIDERS] == ["libcrypto", "cryptography"]


def test_no_library_names_both_rungs(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("cryptography", "cryptography.hazmat.backends", "cryptography.hazmat.primitives.ciphers"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(aes, "PROVIDERS", [aes.Libcrypto(["libcrypto.so.none"]), aes.Cryptography()])
    monkeypatch.setattr(block_ciphers, "PROVIDERS", [])
    with pytest.raises(Unsupported, match=r"libcrypto: libcrypto\.so\.none.*; cryptography: "):
        cipher.check("aes-xts-plain64", 64)


def test_library_that_fails_is_no_wrong_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(key: object, chunks: object, buffer: bytearray, encrypt: bool) -> None:
        raise aes.NotProvided("OpenSSL 9 refused to run the cipher")

    class Provider:
        name = "failing"

        def ability(self, mode: str, bits: int) -> aes.Crypt:
            return fails

    monkeypatch.setattr(aes, "PROVIDERS", [Provider()])
    with pytest.raises(Unsupported, match="OpenSSL 9 refused"):
        cipher.decrypt("aes-cbc-plain", key_of(32), bytes(512))


@pytest.mark.parametrize("error", [cipher.NotProvided("no AES"), KeyboardInterrupt()], ids=["not here", "a signal"])
def test_what_is_half_decrypted_is_wiped(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: t.List[bytearray] = []

    def crypt(_key: t.Any, _chunks: t.Any, data: bytearray, _encrypt: bool) -> t.NoReturn:
        data[:] = b"k" * len(data)
        seen.append(data)
        raise error

    monkeypatch.setattr(cipher, "_ability", lambda *_cipher: crypt)
    with pytest.raises((Unsupported, KeyboardInterrupt)):
        cipher.decrypt("aes-xts-plain64", bytes(range(32)), bytes(512))
    assert len(seen[0]) == 512 and not any(seen[0])


def test_the_hash_and_the_cipher_of_essiv_are_asked_for_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: t.List[str] = []
    monkeypatch.setattr(cipher, "new_hash", asked.append)
    monkeypatch.setattr(cipher, "_ability", lambda _cipher, mode, _size: asked.append(mode))
    cipher.check("aes-cbc-essiv:sha256", 32)
    assert asked == ["cbc", "sha256", "ecb"]


def test_the_key_of_essiv_is_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    wiped: t.List[bytes] = []
    monkeypatch.setattr(cipher, "wipe", lambda buffer: wiped.append(bytes(buffer)))
    cipher.decrypt("aes-cbc-essiv:sha256", bytes(range(32)), bytes(512))
    assert hashlib.sha256(bytes(range(32))).digest() in wiped


def test_what_the_package_cryptography_is_given_to_write_to_is_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cryptography")
    wiped: t.List[bytes] = []
    monkeypatch.setattr(aes, "wipe", lambda buffer: wiped.append(bytes(buffer)))
    data = bytearray(b"k" * 512)
    aes.Cryptography().ability("cbc", 256)(bytes(range(32)), [(0, 512, bytes(16))], data, True)
    assert len(wiped) == 1 and wiped[0].startswith(data) and data != b"k" * 512
