"""Reading a review takes time in proportion to its length, whatever it holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from timing import growth

from grasper.metrics.meteor import meteor, treebank_tokens
from grasper.metrics.standard import chrf
from grasper.metrics.style import StyleSpace
from grasper.metrics.text import has_published_tokens, rougeL, unicode_tokens, whole_words
from grasper.reason.reading import read

SPACE = StyleSpace(num_words=5).fit(["a b c"])
READERS: dict[str, Callable[[str], object]] = {
    "words": unicode_tokens.__wrapped__,
    "whole words": whole_words.__wrapped__,
    "script": has_published_tokens.__wrapped__,
    "treebank": treebank_tokens.__wrapped__,
    "analysis": read.__wrapped__,
    "style": lambda text: SPACE.vectors([text]),
    "METEOR": lambda text: meteor(["a b c"], [text], use_wordnet=False),
    "ROUGE-L": lambda text: rougeL(["a b c"], [text]),
    "chrF": lambda text: chrf(["a b c"], [text]),
}


@pytest.mark.parametrize("unit", [" ", ".", "a'", "a-", "a\u0301", "\U0001f468\u200d", "1,"])
@pytest.mark.parametrize("reader", READERS)
def test_time_grows_no_faster_than_the_text(reader: str, unit: str) -> None:
    """Eight times the text takes about eight times as long."""
    assert growth(READERS[reader], lambda size: unit * size + "x", size=2000) < 3
