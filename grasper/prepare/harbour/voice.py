"""How a visitor writes: a vocabulary of favourite words, and habits that turn plain sentences into the writer's own."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

_PLAIN = ("good", "great", "nice", "lovely", "excellent", "wonderful", "fantastic", "brilliant", "amazing", "superb", "delightful")
_EXTREME = frozenset({"excellent", "wonderful", "fantastic", "brilliant", "amazing", "superb", "delightful"})
_WARM = ("lovely", "wonderful", "delightful", "fantastic", "great", "brilliant", "amazing")
_DRY = ("good", "excellent", "superb", "great", "good")
_HEDGES = (
    "I think ",
    "To me, ",
    "In my opinion, ",
    "I'd say ",
    "If you ask me, ",
    "For me ",
    "I found that ",
    "I have to say, ",
    "To be honest, ",
    "To be fair, ",
)
_CONTRACTIONS = {
    "can't": "cannot", "won't": "will not", "n't": " not", "I'm": "I am", "'re": " are", "'ve": " have", "'ll": " will",
    "it's": "it is", "It's": "It is", "that's": "that is", "That's": "That is", "there's": "there is", "There's": "There is",
}  # fmt: skip
_AMERICAN = {"cosy": "cozy", "cosiest": "coziest", "neighbour": "neighbor", "apologised": "apologized", "modernised": "modernized", "theatre": "theater",
             "favourite": "favorite", "grey": "gray", "flavour": "flavor", "penny": "cent", "mum": "mom", "colouring": "coloring"}  # fmt: skip
_MISSPELT = {"definitely": "definately", "a lot": "alot", "really": "realy", "because": "becuase", "recommended": "recomended", "friendly": "freindly",
             "restaurant": "restaraunt", "until": "untill", "their": "thier", "beautiful": "beautifull", "breakfast": "breakfest", "which": "wich"}  # fmt: skip
_DROPPABLE = re.compile(
    r"^(?:I|We) (?=(?:sat|had|came|ate|paid|slept|saw|took|went|left|waited|found|stayed|asked|shared|loved|enjoyed|adored|liked|visited|stopped|learnt"
    r"|dropped|booked|did|met|got|lost|bought|expected|missed|planned|read|queued|swapped) )"
)
# A sentence may follow "but" or "I think" only where its first word is no name.
_SAFE_START = re.compile(
    r"^(?:The|There|It|They|We|You|Our|My|Nobody|No|Not|Everything|Half|Prices|Service|Breakfast|Food|Staff|With|From|At|A|An|Everyone|In|On)\b"
)
_CLAUSE = re.compile(r"^(?:The|There|It|They|We|I|You|Our|My|Nobody|Everything|Everyone)\b(?! last\b)")
_HEDGEABLE = re.compile(
    r"^(?:The|There|They|It|Our|Prices|Service|Breakfast|Food|Everything|Nobody) ?(?=.*\b(?:is|was|are|were|came|has|had|have|tastes|tasted|isn't|arrived|knows|feels)\b)"
)


@dataclass(frozen=True)
class Style:
    """The parameters of one writer. Shares and probabilities are 0–1."""

    length: int
    """Words of a typical review."""
    warmth: float
    exclamation: float
    is_lower_case: bool
    hedging: float
    humour: float
    formality: float
    storytelling: float
    good: tuple[str, ...]
    very: tuple[str, ...]
    loved: tuple[str, ...]
    nice: tuple[str, ...]
    bad: tuple[str, ...]
    connectives: tuple[str, ...]
    """How a sentence of the same mind is added."""
    turns: tuple[str, ...]
    """How a sentence of another mind is added."""
    hedges: tuple[str, ...]
    joint: str
    """What now and then replaces a full stop: `, and `, ` - `, `... `, `; ` or the full stop itself."""
    smile: str
    drops_pronouns: bool
    is_shouting: bool
    is_american: bool
    misspells: bool
    ampersand: bool
    ends_bare: bool
    """Leaves out the last full stop."""
    title_case: str
    """`title`, `sentence` or `lower`."""
    lists_points: bool
    """Sums up as "Plus: … Minus: …"."""


def draw_style(rng: random.Random) -> Style:
    """A random writer. Traits go together a little: the formal do not shout, the brief do not tell stories."""
    formality = rng.betavariate(1.3, 1.6)
    warmth = rng.betavariate(2, 2)
    length = round(min(105, max(7, rng.lognormvariate(3.62, 0.62))))
    casual = formality < 0.35
    goods = _WARM if warmth > 0.5 else _DRY
    return Style(
        length=length,
        warmth=round(warmth, 3),
        exclamation=round(0.0 if formality > 0.7 else max(0.0, rng.gauss(warmth - 0.35, 0.3)), 3),
        is_lower_case=casual and rng.random() < 0.35,
        hedging=round(rng.betavariate(1, 3), 3),
        humour=round(rng.betavariate(1, 2.5), 3),
        formality=round(formality, 3),
        storytelling=round(rng.betavariate(1.5, 2), 3),
        good=(*tuple(rng.sample(sorted(set(goods)), 2)), rng.choice(_PLAIN)),
        very=tuple(rng.sample(("really", "super", "pretty", "incredibly") if casual else ("very", "really", "truly", "extremely"), 2)),
        loved=(rng.choice(("loved", "adored", "loved") if warmth > 0.5 else ("liked", "enjoyed", "loved")),),
        nice=tuple(
            rng.sample(
                ("nice", "pleasant", "lovely", "charming", "sweet", "pretty") if not casual else ("nice", "cute", "sweet", "cool", "lovely"), 2
            )
        ),
        bad=tuple(rng.sample(("poor", "disappointing", "dreadful", "mediocre") if not casual else ("awful", "terrible", "rubbish", "sad"), 2)),
        connectives=tuple(
            rng.sample(
                ("Also, ", "And ", "Plus, ", "On top of that, ", "What's more, ")
                if casual or warmth > 0.4
                else ("Also, ", "Moreover, ", "In addition, ", "Then, "),
                2,
            )
        ),
        turns=tuple(
            rng.sample(("But ", "Then again, ", "Still, ", "Only ") if casual else ("However, ", "That said, ", "On the other hand, ", "But "), 2)
        ),
        hedges=tuple(rng.sample(_HEDGES, 2)),
        joint=rng.choice((". ", ". ", ". ", ", and ", " - ", "... " if casual else "; ")),
        smile=rng.choice((":)", ":-)", "<3", "xx", ":D")) if casual and rng.random() < 0.35 else "",
        drops_pronouns=rng.random() < (0.45 if casual else 0.12),
        is_shouting=casual and rng.random() < 0.15,
        is_american=rng.random() < 0.25,
        misspells=casual and rng.random() < 0.15,
        ampersand=casual and rng.random() < 0.2,
        ends_bare=casual and rng.random() < 0.3,
        title_case=rng.choices(("sentence", "title", "lower"), (0.55, 0.3, 0.15))[0],
        lists_points=rng.random() < 0.12,
    )


def praise(style: Style, rng: random.Random) -> str:
    """The writer's "very good": a strong word stands alone or takes "absolutely", a weak one takes the writer's intensifier."""
    word = rng.choices(style.good, (5, 3, 1))[0]
    if word in _EXTREME:
        return rng.choice((word, word, f"{'absolutely' if style.warmth > 0.5 else 'quite simply'} {word}"))
    return f"{intensifier(style, rng)} {word}"


def intensifier(style: Style, rng: random.Random) -> str:
    """The writer's "very"."""
    return rng.choices(style.very, (3, 1))[0]


def hedge(sentence: str, style: Style, rng: random.Random) -> str:
    """The sentence softened by one of the writer's hedges, where its form allows that."""
    if not _HEDGEABLE.match(sentence):
        return sentence
    return rng.choices(style.hedges, (3, 1))[0] + decapitalise(sentence)


def attach(sentence: str, *, is_turn: bool, style: Style, rng: random.Random) -> str:
    """The sentence with a connective in front, where its form allows that."""
    if not _SAFE_START.match(sentence):
        return sentence
    return rng.choices(style.turns if is_turn else style.connectives, (2, 1))[0] + decapitalise(sentence)


def decapitalise(sentence: str) -> str:
    """The sentence for use after a connective; "I" and names keep their capital."""
    return sentence[0].lower() + sentence[1:] if _SAFE_START.match(sentence) else sentence


def is_clause(sentence: str) -> bool:
    """Whether the sentence opens like a full clause, which may follow ", and "."""
    return bool(_CLAUSE.match(sentence))


def drop_pronoun(sentence: str) -> str:
    """ "We sat outside" → "Sat outside"."""
    shorter = _DROPPABLE.sub("", sentence)
    return shorter[0].upper() + shorter[1:]


def spell(text: str, style: Style) -> str:
    """The text in the writer's spelling: contractions, American or faulty words, ampersands."""
    if style.formality > 0.65:
        for short, long in _CONTRACTIONS.items():
            text = text.replace(short, long)
    for applies, words in ((style.is_american, _AMERICAN), (style.misspells, _MISSPELT)):
        if applies:
            for word, other in words.items():
                text = re.sub(rf"\b{word}\b", other, text)
    return text.replace(" and ", " & ") if style.ampersand else text


def tidy(text: str) -> str:
    """The text with single spaces, no space before a stop, "a" or "an" as the next word asks, and capitals at sentence starts."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r" ([,.!?;:])", r"\1", text)
    text = re.sub(r",([.!?])", r"\1", text)
    text = re.sub(r"\b([Aa]) (?=[aeiouAEIOU](?!ne-|uro|ni))", r"\1n ", text)
    return re.sub(r"(^|[^.][.!?]\s+)([a-zà-ž])", lambda match: match[1] + match[2].upper(), text)
