"""Texts that look equal and are not, and names that are no text: found whatever the script, and read in the encoding of their time."""

import io
import json
import os
import sys
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from system import verbs
from system.texts import alike, first_spellings, looks_of, recognise, utf8_faults

UNSEEN = ("", " ", "\u00a0", "\u3000", "\u200b", "\ufeff", "\u00ad", "\u200e")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8), st.sampled_from(UNSEEN), st.sampled_from(UNSEEN))
def test_what_shows_nothing_and_the_unicode_form_make_no_other_text(text: str, before: str, after: str) -> None:
    looks = looks_of(text)
    for form in ("NFC", "NFD"):
        assert looks_of(before + normalize(form, text) + after) == looks
    assert looks_of(looks) == looks


@pytest.mark.parametrize(("one", "other"), [("p1", "p10"), ("Ann", "ann"), ("1", "１"), ("a b", "ab"), ("é", "e"), ("개", "게")])
def test_texts_that_differ_to_the_eye_stay_apart(one: str, other: str) -> None:
    assert looks_of(one) != looks_of(other)


def test_the_first_spelling_counts_and_a_text_of_spaces_alone_is_nobodys_twin() -> None:
    mac, windows = normalize("NFD", "박지민"), normalize("NFC", "박지민")
    assert first_spellings([mac, "Lee", windows, "Lee ", "", " ", "\u200b"]) == {windows: mac, "Lee ": "Lee"}
    assert alike([mac, windows, mac, "a"]) == [[mac, windows]]
    spelled = recognise(["Kim", "Lee", "Lee "])
    assert [spelled(text) for text in ("Lee\u200b", "Lee ", "Lee", "Le", "kim")] == ["Lee", "Lee ", "Lee", None, None]


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("cp949", "고양이.png"),
        ("cp932", "ねこ猫.jpg"),
        ("gb18030", "猫咪照片.jpg"),
        ("cp1252", "café.png"),
        ("cp949", "사진/개 1.jpg"),
    ],
)
def test_a_name_of_another_time_is_read_in_its_encoding(encoding: str, name: str) -> None:
    given = os.fsdecode(name.encode(encoding))
    [fault] = utf8_faults([given, "fine.png"])
    assert "must be UTF-8 text, 1 are not" in fault
    assert f"as {encoding} they read {name}" in fault
    assert fault.isprintable()
    assert fault.encode()


def test_ten_thousand_such_names_are_ten_examples_and_a_lone_surrogate_has_no_reading() -> None:
    [fault] = utf8_faults([f"\udcb0\udced{n}.png" for n in range(10_000)])
    assert "10000 are not" in fault
    assert len(fault) < 900
    [fault] = utf8_faults(["\ud800.png"], "image ids")
    assert fault == "image ids must be UTF-8 text, 1 are not: '\\ud800.png'; rename these photos"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("flag", [[], ["--json"]])
def test_a_terminal_that_cannot_show_a_sign_gets_its_number(
    encoding: str, flag: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    value, stream = "고양이 é \udcb0.png", io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    assert verbs.run(verbs.parser("", ""), lambda given: {"name": value}, lambda found: print(found["name"]), flag) == 0
    stream.flush()
    printed = stream.buffer.getvalue()  # type: ignore[attr-defined]
    said = printed.decode(encoding)
    assert json.loads(said)["name"] == value if flag else "\\udcb0.png" in said
    assert ("고양이" in said) == (encoding == "utf-8")
