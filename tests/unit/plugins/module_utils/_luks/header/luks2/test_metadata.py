# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The JSON area: read strictly, written like json-c."""

from __future__ import annotations

import contextlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import metadata
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header.luks2 import luks2_cases as cases
from hypothesis import given, settings
from hypothesis import strategies as st


def area(text: t.Union[str, bytes], size: int = 12288) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return raw.ljust(size, b"\0")


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"a":[],"b":{},"c":null,"d":true,"e":false}',
        '{"n":[0,-1,9223372036854775807,-9223372036854775808]}',
        '{"f":[1.50,1e5,1E+05,-0.0,0.10000000000000000000001,1e999]}',
        '{"s":"/ \\" \\\\ \\b\\n\\r\\t\\f \\u0001 \\u001f \x7f \u00e9 \u2028 \U0001f511"}',
        '{"b":1,"a":2}',
        '{"":""}',
    ],
)
def test_what_cryptsetup_wrote_comes_out_to_the_byte(text: str) -> None:
    assert metadata.emit(metadata.parse_area(area(text))) == text.encode()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('{ "a" : [ 1 , 2 ] }', '{"a":[1,2]}'),
        ('{"a":"\\/"}', '{"a":"/"}'),
        ('{"a":"\\u00e9\\ud83d\\udd11\\u0041\\u007F\\u0009"}', '{"a":"\u00e9\U0001f511A\x7f\\t"}'),
    ],
)
def test_other_spellings_are_written_as_json_c_would(text: str, written: str) -> None:
    assert metadata.emit(metadata.parse_area(area(text))) == written.encode()


@pytest.mark.parametrize("text", cases.LENIENT)
def test_what_json_c_reads_in_its_own_way_is_refused(text: t.Union[str, bytes]) -> None:
    with pytest.raises(metadata.StricterThanCryptsetup, match=r"not strict JSON.*more lenient.*not normalised"):
        metadata.parse_area(area(text))


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (area(' {"a":1}'), "begin with"),
        (area("[]"), "begin with"),
        (area(""), "begin with"),
        (area('\ufeff{"a":1}'), "begin with"),
        (area('{"a":1}\n'), "more text"),
        (area('{"a":1}{}'), "more text"),
        (area('{"a":1}')[:-1] + b"x", "other than NUL"),
        (b'{"a":"' + b"x" * 100 + b'"}', "not terminated by a NUL"),
    ],
)
def test_what_cryptsetup_refuses_too_says_so(raw: bytes, word: str) -> None:
    with pytest.raises(errors.MalformedHeader, match=word) as caught:
        metadata.parse_area(raw)
    assert not isinstance(caught.value, metadata.StricterThanCryptsetup)


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ('{"a":[', "]}")])
def test_nesting_ends_where_that_of_json_c_ends(opening: str, closing: str) -> None:
    per_step = len(closing)

    def nested(depth: int) -> bytes:
        steps, rest = divmod(depth, per_step)
        return area('{"a":' * rest + opening * steps + "1" + closing * steps + "}" * rest)

    metadata.parse_area(nested(metadata.MAX_DEPTH))
    with pytest.raises(errors.MalformedHeader, match="nested deeper"):
        metadata.parse_area(nested(metadata.MAX_DEPTH + 1))


def test_brackets_in_strings_are_no_nesting_and_no_recursion_is_reached() -> None:
    text = '{"a":"' + "[{" * 100 + '\\"' + "[" * 100 + '"}'
    assert metadata.parse_area(area(text))
    with pytest.raises(errors.MalformedHeader, match="nested deeper"):
        metadata.parse_area(b"{" + b'"a":[' * 800000 + b"\0")


def test_a_number_is_its_spelling() -> None:
    one, other = metadata.Number("1.50"), metadata.Number("1.5")
    assert one == metadata.Number("1.50") and hash(one) == hash(metadata.Number("1.50"))
    assert one != other and one != 1.5 and repr(one) == "Number('1.50')"


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | _TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(_TEXT, _VALUES))
def test_whatever_is_written_reads_back_equal_and_in_order(tree: t.Dict[str, t.Any]) -> None:
    raw = metadata.emit(tree)
    again = metadata.parse_area(raw + b"\0")
    assert again == tree and list(again) == list(tree)
    assert metadata.emit(again) == raw


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_nothing_but_our_errors_comes_out(tail: bytes) -> None:
    with contextlib.suppress(errors.LuksmithError):
        metadata.parse_area(b'{"a":' + tail + b"}\0")


@pytest.mark.parametrize(
    "text", ['{"a": "x\\u0000"}', '{"a": ["x\\u0000"]}', '{"a\\u0000": 1}', '{"a": {"b": ["\\u0000"]}}']
)
def test_a_string_at_which_c_programs_stop_reading(text: str) -> None:
    with pytest.raises(errors.LuksmithError, match="escaped NUL"):
        metadata.parse_area(text.encode().ljust(4096, b"\0"))
