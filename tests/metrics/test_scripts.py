"""Texts of any script: identical ones score 1, one changed word of ten costs about a tenth, different ones score near 0, everywhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from grasper.config import SynthesizeConfig
from grasper.generate.consensus import choose
from grasper.metrics.meteor import meteor
from grasper.metrics.overlap import pairwise_f1
from grasper.metrics.standard import bleu, chrf
from grasper.metrics.text import copied_share, count_words, is_unspaced, rouge1, rougeL, tokenization_of, unicode_tokens
from grasper.reason.format import Answer, ReasoningPath
from grasper.reason.leak import leaks_answer
from grasper.reason.reward import make_reward
from grasper.records import Item, Profile, Request
from grasper.synthesize.select import fault_of

TEXTS = {
    "English": (
        "the rooms were clean and our breakfast tasted really wonderful",
        "the rooms were dirty and our breakfast tasted really wonderful",
        "nobody answered when I asked about late trains into town",
    ),
    "Portuguese": (
        "o quarto estava limpo e nosso café parecia muito bom",
        "o quarto estava sujo e nosso café parecia muito bom",
        "ninguém respondeu quando perguntei sobre trens tardios desta cidade vizinha",
    ),
    "Russian": (
        "номер был очень чистый и завтрак нам понравился больше всего",
        "номер был очень грязный и завтрак нам понравился больше всего",
        "никто не ответил когда спросил про поздние поезда до города",
    ),
    "Arabic": (
        "كانت الغرفة نظيفة جدا وكان الفطور لذيذا والموظفون لطفاء معنا",
        "كانت الغرفة وسخة جدا وكان الفطور لذيذا والموظفون لطفاء معنا",
        "لم يجب أحد عندما سألت عن القطارات المتأخرة إلى المدينة",
    ),
    "Hindi": (
        "कमरा बहुत साफ था और नाश्ता हमें सबसे ज्यादा पसंद",
        "कमरा बहुत गंदा था और नाश्ता हमें सबसे ज्यादा पसंद",
        "किसी ने जवाब नहीं दिया जब मैंने रेलगाड़ी पूछी थीं",
    ),
    "Chinese": ("房间非常干净早餐也很好吃。", "房间非常干净晚餐也很好吃。", "问末班火车时没人回答我们"),
    "Japanese": ("部屋はとても清潔で朝食も最高", "部屋はとても清潔で夕食も最高", "終電について尋ねたが返事なかった"),
    "Thai": ("ห้องสะอาดมากและอาหารเช้าอร่อย", "ห้องสะอาดมากและอาหารค่ำอร่อย", "ไม่มีใครตอบเรื่องรถไฟ"),
    "emoji": ("👍🏽 😀 ❤️ 🇧🇷 👨‍👩‍👧 🍰 🌊 ⭐ 🎉 🐟", "👍🏽 😀 ❤️ 🇧🇷 👨‍👩‍👧 🍰 🌊 ⭐ 🎉 🦀", "👎 😡 💔 🇩🇪 👩‍👦 🥦 🔥 🌑 💤 🐈"),
}
SCORES: dict[str, Callable[[list[str], list[str]], np.ndarray]] = {
    "rouge1": rouge1,
    "rougeL": rougeL,
    "rouge1_unicode": lambda texts, references: rouge1(texts, references, tokenizer=unicode_tokens),
    "meteor": lambda texts, references: meteor(texts, references, use_wordnet=False),
    "bleu": bleu,
    "chrf": chrf,
    "reward": lambda texts, references: make_reward().score("long", texts, references),
    "overlap": lambda texts, references: np.diag(pairwise_f1(texts, references)),
}
SOMEBODY = Request("e", "long", "u", Item("i"))


@pytest.mark.parametrize("script", TEXTS)
@pytest.mark.parametrize("name", SCORES)
def test_likeness_in_every_script(script: str, name: str) -> None:
    """Identical 1, one word of ten about 0.9 (less where runs of words count), different near 0."""
    text, changed, different = TEXTS[script]
    same, near, far = (SCORES[name]([candidate], [text])[0] for candidate in (text, changed, different))
    assert same == pytest.approx(1.0, abs=0.001)
    lowest = {"bleu": 0.6, "chrf": 0.6}.get(name, 0.84)
    assert lowest < near < 0.97
    assert far < 0.3
    assert far < near / 2


@pytest.mark.parametrize("script", TEXTS)
def test_choices_and_gates_in_every_script(script: str) -> None:
    """Consensus finds the text that agrees with the evidence, the gates see copies and repetitions, the guard sees a quotation."""
    text, changed, different = TEXTS[script]
    assert choose([different, changed], [text]) == 1
    assert copied_share([text], [[text]], length=4)[0] == 1.0
    assert copied_share([different], [[text]], length=4)[0] == 0.0
    accept = SynthesizeConfig(min_words=2)
    assert fault_of(Answer(None, None, text, None, True), [], [], [], accept) is None
    assert fault_of(Answer(None, None, f"{text} {text} {text}", None, True), [], [], [], accept) == "repeated"
    assert fault_of(Answer(None, None, text, None, True), [], [], [text], accept) == "repeated"
    assert fault_of(Answer(None, None, f"{text} {different}", None, True), [f"{text} {different}"], [], [], accept) == "copied"
    quoting, silent = ReasoningPath("short", "unknown", f"say: {text}"), ReasoningPath("short", "unknown", f"say: {different}")
    assert leaks_answer(quoting, SOMEBODY, Profile(), text)
    assert not leaks_answer(silent, SOMEBODY, Profile(), text)


def test_the_tokenization_is_told() -> None:
    """Latin letters and digits go through the published tokenizer, everything else through words of any script."""
    references = [texts[0] for texts in TEXTS.values()]
    assert tokenization_of(references) == {"rouge-score": 2, "unicode": len(TEXTS) - 2}
    assert tokenization_of(["5/5!!!", "Très bien 👍", "很好很好 OK", "", None]) == {"rouge-score": 4, "unicode": 1}


def test_length_counts_characters_where_there_are_no_spaces() -> None:
    """Words elsewhere, contractions and hyphens included."""
    assert count_words("it's well-made, isn't it?") == 4
    assert count_words("房间很干净。") == 5
    assert count_words("номер очень чистый") == 3
    assert is_unspaced("とても good です")
    assert not is_unspaced("we had 寿司")


def test_words_stay_whole() -> None:
    """Vowel signs, joiners, half-width and full-width forms, and sequences of emoji do not fall apart."""
    assert unicode_tokens("अच्छा है") == ("अच्छा", "है")
    assert unicode_tokens("می‌خواهم") == ("می‌خواهم",)
    assert unicode_tokens("ﾊﾟﾝ ＯＫ") == ("パ", "ン", "ok")
    assert unicode_tokens("👨‍👩‍👧👍🏽🇧🇷") == ("👨‍👩‍👧", "👍🏽", "🇧🇷")
