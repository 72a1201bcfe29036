"""Every word of our prompts is one token, every other text is spelled and nothing is refused."""

import pytest

from harness.tiny_training.tokenizer import POSITIONS, WORDS, build_tokenizer, load_tokenizer, token_ids


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(folder)
    return load_tokenizer(folder)


def test_each_known_word_is_one_token(tokenizer):
    assert {word: len(tokenizer(word).input_ids) - 2 for word in WORDS} == dict.fromkeys(WORDS, 1)


def test_the_end_has_the_highest_id_and_pads(tokenizer):
    ids = token_ids(tokenizer, ["a photo of a red car", ""])
    assert ids.shape == (2, POSITIONS)
    assert ids.max() == tokenizer.eos_token_id == len(tokenizer) - 1
    assert (ids[1, 1:] == tokenizer.eos_token_id).all()


@pytest.mark.parametrize("text", ["zebra", "lowres, bad anatomy", "Straße", "車"])
def test_unknown_words_are_spelled(tokenizer, text):
    pieces = tokenizer(text, add_special_tokens=False).input_ids
    assert pieces
    assert tokenizer.eos_token_id not in pieces


def test_too_long_a_text_is_cut(tokenizer):
    assert token_ids(tokenizer, ["a photo of " * 20]).shape == (1, POSITIONS)
