"""The tokenizer of the tiny checkpoints uses CLIP's byte-pair format, with merges for the words of our prompts alone.

A known word is one token, any other falls back to byte pieces, so no text is refused. 16 positions are enough for the
longest prompt ("a photo of a female rider"); the published vocabulary would weigh 6 MB for nothing.
"""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

POSITIONS = 16
"""Tokens per text, start and end included."""

COLOURS = ("white", "black", "red", "green", "blue", "silver", "grey", "yellow", "brown", "orange")
CLASSES = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
_OTHERS = (
    "a",
    "an",
    "photo",
    "of",
    "woman",
    "man",
    "male",
    "female",
    "caravan",
    "trailer",
    "the",
    "street",
    "in",
    "on",
)
WORDS = (*COLOURS, *CLASSES, *_OTHERS)

START, END = "<|startoftext|>", "<|endoftext|>"


def build_tokenizer(folder: Path) -> None:
    """Write the tokenizer's files into `folder`, as `CLIPTokenizer.from_pretrained` reads them."""
    from transformers import CLIPTokenizer

    merges = _merges(WORDS)
    vocabulary = _vocabulary(merges)
    joined: Any = merges  # pairs, which the class takes although it names lists of strings
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=joined, model_max_length=POSITIONS)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(f"{a} {b}" for a, b in merges) + "\n", "utf-8")


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of `folder`, without a look at any hub."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def token_ids(tokenizer: Any, texts: list[str]) -> Any:
    """Ids [len(texts), POSITIONS], int64, padded and cut as diffusers' pipelines do."""
    options = {"padding": "max_length", "max_length": POSITIONS, "truncation": True, "return_tensors": "pt"}
    return tokenizer(texts, **options).input_ids


def _merges(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Byte-pair encoding (Sennrich et al. 2016, section 3.2) of the words until each is one piece.

    The commonest pair is joined first, ties alphabetically; a word's last letter carries the end mark, as in CLIP.
    """
    spelled = [[*word[:-1], word[-1] + "</w>"] for word in words]
    merges = []
    while any(len(pieces) > 1 for pieces in spelled):
        pairs = Counter(pair for pieces in spelled for pair in pairwise(pieces))
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelled = [_joined(pieces, best) for pieces in spelled]
    return merges


def _joined(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    result: list[str] = []
    for piece in pieces:
        if result and (result[-1], piece) == pair:
            result[-1] += piece
        else:
            result.append(piece)
    return result


def _vocabulary(merges: list[tuple[str, str]]) -> dict[str, int]:
    """Bytes, bytes that end a word, merged pieces; the two marks last: pooling looks for the highest id, the end."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    pieces = [*letters, *(letter + "</w>" for letter in letters), *(a + b for a, b in merges), START, END]
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
