"""Held-out bits per byte of nano, of a 5-gram and of zstd, on texts of the benchmark's dev users.

Each text is coded alone. nano and the 5-gram code its tokens and the end; nano is told `Text:` first, as in its prompts. zstd compresses at level
19 with a dictionary of 110 KiB trained on the corpus. Bytes are those of the text in UTF-8 (NFC), the same for all three.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import unicodedata
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import zstandard
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from experiments.nano.command import run
from experiments.nano.corpus import read_documents
from experiments.nano.export import PACKAGE_DIR
from experiments.nano.ngram import NgramModel
from experiments.nano.reviews import BENCHMARK_SETS

RESULTS_DIR = Path(__file__).parents[1] / "results" / "nano"
ZSTD_LEVEL, ZSTD_DICTIONARY_BYTES, ZSTD_SAMPLES = 19, 112_640, 40_000
PREFIX = "Text:"
CODERS = ("nano", "5-gram", "zstd-19")
NUM_RESAMPLES = 1000


def dev_texts(data_dir: Path, name: str, limit: int, seed: int) -> list[str]:
    """Gives different texts of a dev split, a random `limit` of them, on one line and in NFC."""
    texts = pd.read_parquet(data_dir / name / "dev.parquet")["text"].dropna().drop_duplicates()
    chosen = texts.sample(min(limit, len(texts)), random_state=seed)
    return [" ".join(unicodedata.normalize("NFC", text).split()) for text in chosen]


def encode_texts(texts: list[str], tokenizer: PreTrainedTokenizerBase) -> list[np.ndarray]:
    """Gives the tokens of each text as they stand behind `Text:`, without the label's own tokens."""
    label = len(tokenizer(PREFIX, add_special_tokens=False)["input_ids"])
    encoded = tokenizer([f"{PREFIX} {text.replace('<|', '< |')}" for text in texts], add_special_tokens=False, verbose=False)["input_ids"]
    return [np.array(ids[label:], dtype=np.uint16) for ids in encoded]


def nano_bits(documents: list[np.ndarray], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_tokens: int = 8192) -> np.ndarray:
    """Gives the code length of each document with its end token in bits, `[documents]`; what exceeds the context is coded as a new text."""
    label: list[int] = tokenizer(PREFIX, add_special_tokens=False)["input_ids"]
    room = model.config.max_position_embeddings - len(label)
    end_id = int(tokenizer.eos_token_id)
    pieces = []
    for number, document in enumerate(documents):
        ids = [*map(int, document), end_id]
        pieces += [(number, ids[start : start + room]) for start in range(0, len(ids), room)]
    pieces.sort(key=lambda piece: len(piece[1]))
    bits = np.zeros(len(documents))
    while pieces:
        width = max(1, batch_tokens // (len(pieces[-1][1]) + len(label)))
        batch, pieces = pieces[-width:], pieces[:-width]
        longest = len(batch[-1][1])
        rows = torch.tensor([label + piece + [end_id] * (longest - len(piece)) for _, piece in batch])
        with torch.inference_mode():
            logits = model(input_ids=rows[:, :-1]).logits[:, len(label) - 1 :].float()
        losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, len(label) :].flatten(), reduction="none").view(len(batch), -1)
        for (number, piece), loss in zip(batch, losses, strict=True):
            bits[number] += float(loss[: len(piece)].sum()) / np.log(2)
    return bits


def corpus_tokens(corpus_dir: Path, tokenizer: PreTrainedTokenizerBase, limit: int | None) -> Iterator[np.ndarray]:
    """Gives the tokens of every text of the corpus."""
    texts: list[str] = []
    for number, document in enumerate(read_documents(corpus_dir)):
        if limit is not None and number >= limit:
            break
        texts.append(" ".join(unicodedata.normalize("NFC", document.text).split()))
        if len(texts) == 5000:
            yield from encode_texts(texts, tokenizer)
            texts = []
    yield from encode_texts(texts, tokenizer) if texts else []


def zstd_bits(texts: list[str], dictionary: zstandard.ZstdCompressionDict) -> np.ndarray:
    """Gives the compressed size of each text in bits, `[texts]`, without checksum, size and dictionary number in the frame."""
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, dict_data=dictionary, write_content_size=False, write_checksum=False, write_dict_id=False)
    return np.array([8.0 * len(compressor.compress(text.encode())) for text in texts])


def train_dictionary(corpus_dir: Path) -> zstandard.ZstdCompressionDict:
    """Gives a zstd dictionary learned from the first texts of the corpus."""
    texts = islice((document.text for document in read_documents(corpus_dir)), ZSTD_SAMPLES)
    samples: list[bytes | bytearray | memoryview] = [text.encode() for text in texts]
    return zstandard.train_dictionary(ZSTD_DICTIONARY_BYTES, samples, level=ZSTD_LEVEL)


def with_interval(bits: np.ndarray, sizes: np.ndarray, seed: int) -> dict[str, float]:
    """Gives bits per byte over all texts with a 95 % bootstrap interval over texts."""
    generator = np.random.default_rng(seed)
    draws = generator.integers(0, len(bits), (NUM_RESAMPLES, len(bits)))
    ratios = bits[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return {"value": round(float(bits.sum() / sizes.sum()), 4), "low": round(float(low), 4), "high": round(float(high), 4), "n": len(bits)}


def commit() -> str:
    """Gives the short hash of the current commit, or `unknown` outside of a repository."""
    answer = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"


def main() -> None:
    """Measures and writes bits_per_byte.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder of *.jsonl or *.jsonl.zst")
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared review tables")
    parser.add_argument("--model", type=Path, default=PACKAGE_DIR, help="model folder")
    parser.add_argument("--out", type=Path, default=RESULTS_DIR / "bits_per_byte.json")
    parser.add_argument("--coders", nargs="+", choices=CODERS, default=CODERS, help="what to measure; other results in the file are kept")
    parser.add_argument("--texts", type=int, default=1000, help="texts of each set")
    parser.add_argument("--ngram-documents", type=int, help="documents that the 5-gram counts; all of the corpus by default")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    texts = {name: dev_texts(options.data, name, options.texts, options.seed) for name in BENCHMARK_SETS}
    sizes = {name: np.array([len(text.encode()) for text in group]) for name, group in texts.items()}
    documents = {name: encode_texts(group, tokenizer) for name, group in texts.items()}
    results = _read_earlier(options.out)
    for coder in options.coders:
        if coder == "nano":
            model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
            bits = {name: nano_bits(group, model, tokenizer) for name, group in documents.items()}
        elif coder == "zstd-19":
            dictionary = train_dictionary(options.corpus)
            bits = {name: zstd_bits(group, dictionary) for name, group in texts.items()}
        else:
            ngram = NgramModel(corpus_tokens(options.corpus, tokenizer, options.ngram_documents), len(tokenizer), int(tokenizer.eos_token_id))
            bits = {name: np.array([ngram.bits(document) for document in group]) for name, group in documents.items()}
        for name in BENCHMARK_SETS:
            results.setdefault(name, {})[coder] = with_interval(bits[name], sizes[name], options.seed)
    command = "python -m experiments.nano.evaluate --corpus ../shared/corpus --data ../shared/data"
    content = {
        "command": f"{command} --texts {options.texts} --seed {options.seed}",
        "commit": commit(),
        "seed": options.seed,
        "unit": "bits per UTF-8 byte of dev texts, 95 % bootstrap interval over texts",
        "ngram_documents": options.ngram_documents or "all",
        "sets": results,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


def _read_earlier(path: Path) -> dict[str, dict[str, dict[str, float]]]:
    """What an earlier call measured with other coders."""
    if not path.exists():
        return {}
    earlier: dict[str, dict[str, dict[str, float]]] = json.loads(path.read_text(encoding="utf-8"))["sets"]
    return earlier


if __name__ == "__main__":
    run(main)
