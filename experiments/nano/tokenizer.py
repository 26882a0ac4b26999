"""Corpus → byte-level BPE tokenizer with nano's chat template.

Bytes are the alphabet, so no text is unknown to it: Portuguese and emoji survive. Digits stand alone; text is normalised to NFC.
The chat template breaks every `<|` of a message, so no review can smuggle in a special token.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from experiments.nano.command import run
from experiments.nano.corpus import END, read_documents, render_document

PAD = "<|pad|>"
SPECIAL_TOKENS = [PAD, END, "<|system|>", "<|user|>", "<|assistant|>", *(f"<|reserved_{number}|>" for number in range(3))]
VOCAB_SIZE = 8192
CONTEXT_LENGTH = 1024
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] | replace('<|', '< |') + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)


def train_tokenizer(texts: Iterator[str], vocab_size: int = VOCAB_SIZE) -> PreTrainedTokenizerFast:
    """Gives a tokenizer learned from the texts, with special tokens and chat template set."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\n|'(?:[sdmt]|ll|ve|re)(?!\p{L})| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=16,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        model_max_length=CONTEXT_LENGTH,
        clean_up_tokenization_spaces=False,
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
    )


def sample_texts(corpus_dir: Path, num_documents: int, seed: int) -> Iterator[str]:
    """Gives rendered documents from the start of the corpus; Portuguese ones four times, since there are few of them."""
    chooser = random.Random(f"{seed}:tokenizer")
    for number, document in enumerate(read_documents(corpus_dir)):
        if number >= num_documents:
            return
        text = render_document(document, chooser).removesuffix(END)
        yield from [text] * (4 if document.source.startswith("b2w") else 1)


def main() -> None:
    """Trains the tokenizer and saves it; does nothing when it exists."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder of *.jsonl or *.jsonl.zst")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets tokenizer.json")
    parser.add_argument("--documents", type=int, default=100_000, help="documents to learn from")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if (options.out / "tokenizer.json").exists():
        print(f"{options.out}/tokenizer.json exists, kept")
        return
    tokenizer = train_tokenizer(sample_texts(options.corpus, options.documents, options.seed))
    tokenizer.save_pretrained(options.out)
    print(f"{len(tokenizer)} tokens saved in {options.out}")


if __name__ == "__main__":
    run(main)
