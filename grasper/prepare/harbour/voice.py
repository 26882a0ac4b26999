"""How a visitor writes: a vocabulary of favourite words, and habits that turn plain sentences into the writer's own."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

_PLAIN = ("good", "great", "nice", "lovely", "excellent", "wonderful", "fantastic", "brilliant", "amazing", "superb", "delightful")
_STRONG = frozenset({"excellent", "wonderful", "fantastic", "brilliant", "amazing", "superb", "delightful"})
_WARM_GOOD = ("lovely", "wonderful", "delightful", "fantastic", "great", "brilliant", "amazing")
_DRY_GOOD = ("good", "excellent", "superb", "great")
_CASUAL_VERY, _FORMAL_VERY = ("really", "super", "pretty", "incredibly"), ("very", "really", "truly", "extremely")
_CASUAL_NICE, _FORMAL_NICE = ("nice", "cute", "sweet", "cool", "lovely"), ("nice", "pleasant", "lovely", "charming", "sweet", "pretty")
_CASUAL_BAD, _FORMAL_BAD = ("awful", "terrible", "rubbish", "sad"), ("poor", "disappointing", "dreadful", "mediocre")
_CASUAL_ALSO = ("Also, ", "And ", "Plus, ", "On top of that, ", "What's more, ")
_FORMAL_ALSO = ("Also, ", "Moreover, ", "In addition, ", "Then, ")
_CASUAL_BUT, _FORMAL_BUT = ("But ", "Then again, ", "Still, ", "Only "), ("However, ", "That said, ", "On the other hand, ", "But ")
_HEDGES = (
    "I think ", "To me, ", "In my opinion, ", "I'd say ", "If you ask me, ",
    "For me ", "I found that ", "I have to say, ", "To be honest, ", "To be fair, ",
)  # fmt: skip
_SMILES = (":)", ":-)", "<3", "xx", ":D")

_CONTRACTIONS = {
    "can't": "cannot", "won't": "will not", "n't": " not", "I'm": "I am", "'re": " are", "'ve": " have", "'ll": " will",
    "it's": "it is", "It's": "It is", "that's": "that is", "That's": "That is", "there's": "there is", "There's": "There is",
}  # fmt: skip
_AMERICAN = {
    "cosy": "cozy", "cosiest": "coziest", "neighbour": "neighbor", "neighbours": "neighbors", "apologised": "apologized", "modernised": "modernized",
    "favourite": "favorite", "grey": "gray", "flavour": "flavor", "penny": "cent", "mum": "mom", "colouring": "coloring",
}  # fmt: skip
_MISSPELT = {
    "definitely": "definately", "a lot": "alot", "really": "realy", "because": "becuase", "recommended": "recomended", "friendly": "freindly",
    "restaurant": "restaraunt", "until": "untill", "their": "thier", "beautiful": "beautifull", "breakfast": "breakfest", "which": "wich",
}  # fmt: skip

_DROPPABLE = re.compile(
    r"^(?:I|We) (?=(?:sat|had|came|ate|paid|slept|saw|took|went|left|waited|found|stayed|asked|shared|loved|enjoyed|adored|liked|visited|stopped"
    r"|learnt|dropped|booked|did|met|got|lost|bought|expected|missed|planned|read|queued|swapped) )"
)
# A sentence may follow "but" or "I think" only where its first word is no name.
_SAFE_START = re.compile(
    r"^(?:The|There|It|They|We|You|Our|My|Nobody|No|Not|Everything|Half|Prices|Service|Breakfast|Food|Staff|With|From|At|A|An|Everyone|In|On)\b"
)
_CLAUSE = re.compile(r"^(?:The|There|It|They|We|I|You|Our|My|Nobody|Everything|Everyone)\b(?! last\b)")
_HEDGEABLE = re.compile(
    r"^(?:The|There|They|It|Our|Prices|Service|Breakfast|Food|Everything|Nobody) ?"
    r"(?=.*\b(?:is|was|are|were|came|has|had|have|tastes|tasted|isn't|arrived|knows|feels)\b)"
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
    loved: str
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
    """A random writer. Traits go together a little: the formal do not shout, the warm have warmer words."""
    formality, warmth = rng.betavariate(1.3, 1.6), rng.betavariate(2, 2)
    casual = formality < 0.35

    def two_of(casual_words: tuple[str, ...], formal_words: tuple[str, ...], *, is_casual: bool = casual) -> tuple[str, ...]:
        return tuple(rng.sample(casual_words if is_casual else formal_words, 2))

    return Style(
        length=round(min(105, max(7, rng.lognormvariate(3.62, 0.62)))),
        warmth=round(warmth, 3),
        exclamation=round(0.0 if formality > 0.7 else max(0.0, rng.gauss(warmth - 0.35, 0.3)), 3),
        is_lower_case=casual and rng.random() < 0.35,
        hedging=round(rng.betavariate(1, 3), 3),
        humour=round(rng.betavariate(1, 2.5), 3),
        formality=round(formality, 3),
        storytelling=round(rng.betavariate(1.5, 2), 3),
        good=(*two_of(_WARM_GOOD, _DRY_GOOD, is_casual=warmth > 0.5), rng.choice(_PLAIN)),
        very=two_of(_CASUAL_VERY, _FORMAL_VERY),
        loved=rng.choice(("loved", "adored", "loved") if warmth > 0.5 else ("liked", "enjoyed", "loved")),
        nice=two_of(_CASUAL_NICE, _FORMAL_NICE),
        bad=two_of(_CASUAL_BAD, _FORMAL_BAD),
        connectives=two_of(_CASUAL_ALSO, _FORMAL_ALSO, is_casual=casual or warmth > 0.4),
        turns=two_of(_CASUAL_BUT, _FORMAL_BUT),
        hedges=tuple(rng.sample(_HEDGES, 2)),
        joint=rng.choice((". ", ". ", ". ", ", and ", " - ", "... " if casual else "; ")),
        smile=rng.choice(_SMILES) if casual and rng.random() < 0.35 else "",
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
    if word in _STRONG:
        return rng.choice((word, word, f"{'absolutely' if style.warmth > 0.5 else 'quite simply'} {word}"))
    return f"{intensifier(style, rng)} {word}"


def intensifier(style: Style, rng: random.Random) -> str:
    """The writer's "very"."""
    return rng.choices(style.very, (3, 1))[0]


def join(text: str, sentence: str, style: Style) -> str:
    """The text continued by the writer's joint in place of the full stop, where the sentence's form allows that."""
    follows = decapitalise(sentence)
    if style.joint == ", and ":
        fits = bool(_CLAUSE.match(sentence))
    else:
        fits = follows != sentence or style.joint in (" - ", "... ")
    return text[:-1] + style.joint + follows if fits else f"{text} {sentence}"


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


def title_words(title: str) -> str:
    """The Title With Capitals as Headlines Have Them."""
    small = ("the", "a", "an", "and", "of", "on", "in", "but", "to", "for", "with")
    return " ".join(word if index and word in small else word[:1].upper() + word[1:] for index, word in enumerate(title.split()))
