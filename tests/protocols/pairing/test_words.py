"""Tests of ``springline.protocols.pairing.words``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mnemonic import Mnemonic

from springline.errors import Misuse
from springline.protocols.pairing.words import COUNT, SECRET_SIZE, secret_of, words_of

secrets = st.binary(min_size=SECRET_SIZE, max_size=SECRET_SIZE)
LIST = Mnemonic("english").wordlist

# Trezor's published vectors for BIP 39, the ones of 128 bits.
VECTORS = {
    "00000000000000000000000000000000": "abandon " * 11 + "about",
    "7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f": "legal winner thank year wave sausage worth useful legal winner thank yellow",
    "80808080808080808080808080808080": "letter advice cage absurd amount doctor acoustic avoid "
    "letter advice cage above",
    "ffffffffffffffffffffffffffffffff": "zoo " * 11 + "wrong",
}


@pytest.mark.parametrize(("secret", "words"), VECTORS.items())
def test_published_vectors(secret: str, words: str) -> None:
    assert words_of(bytes.fromhex(secret)) == words
    assert secret_of(words) == bytes.fromhex(secret)


@given(secrets, st.lists(st.sampled_from([" ", "  ", "\t", "\n", ", ", " , "]), min_size=COUNT, max_size=COUNT))
def test_case_spacing_and_endings_are_forgiven(secret: bytes, gaps: list[str]) -> None:
    words = words_of(secret).split()
    typed = "".join(gap + word[:4].upper() for gap, word in zip(gaps, words, strict=True))
    assert secret_of(f" {typed}\n") == secret
    assert secret_of(" ".join(word.title() for word in words)) == secret


def test_four_letters_tell_the_words_apart() -> None:
    assert len({word[:4] for word in LIST}) == len(LIST)


@given(secrets, st.integers(0, COUNT - 1), st.text("abcdefghijklmnopqrstuvwxyz0", min_size=1, max_size=9))
def test_a_word_that_is_none_is_named_by_its_place_alone(secret: bytes, place: int, typo: str) -> None:
    words = words_of(secret).split()
    if typo[:4] in {word[:4] for word in LIST}:
        return
    words[place] = typo
    with pytest.raises(Misuse) as caught:
        secret_of(" ".join(words))
    assert f"word {place + 1} " in str(caught.value)
    assert str(caught.value) == f"word {place + 1} is not in the list; check its spelling"


def test_three_letters_do_for_words_of_three_only() -> None:
    assert secret_of("zoo " * 11 + "wron") == b"\xff" * 16
    with pytest.raises(Misuse, match="word 1 "):
        secret_of("aba " + "abandon " * 10 + "about")


def test_a_wrong_checksum_says_nothing_of_the_words() -> None:
    with pytest.raises(Misuse) as caught:
        secret_of("abandon " * 12)
    assert "abandon" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("text", ["", "abandon", "abandon " * 11, "abandon " * 13, "abandon " * 24])
def test_another_number_of_words_is_misuse(text: str) -> None:
    with pytest.raises(Misuse, match="12 words, not"):
        secret_of(text)


@given(st.text())
def test_whatever_is_typed_is_misuse_at_worst(text: str) -> None:
    with pytest.raises(Misuse):
        secret_of(text)


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_a_secret_of_another_size_is_misuse(size: int) -> None:
    with pytest.raises(Misuse):
        words_of(bytes(size))
