"""One visit → one review: what was lived through decides the aspects, the writer's habits decide the words."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from grasper.prepare.harbour import voice
from grasper.prepare.harbour.phrases import aspects_of, expand, fill, pick, section, short_phrases, slots_of
from grasper.prepare.harbour.visit import Visit, sentiments
from grasper.prepare.harbour.world import TOWN, Place, World

_SEASONS = ("winter", "winter", "spring", "spring", "spring", "summer", "summer", "summer", "autumn", "autumn", "autumn", "winter")
_ONCE = frozenset(
    {"with", "month", "weekday", "season", "weather", "street", "rival", "quirk", "previous", "view", "month2", "interest", "town", "her", "times"}
)
"""Slots that one review fills only once: nobody names the weekday twice."""
_TWICE = frozenset({"special", "name", "second", "host", "kind", "the_boat"})
_MAX_WORDS = 108


@dataclass
class _Draft:
    """A review in the making: chosen pieces by role, and the slots they have filled."""

    visit: Visit
    values: dict[str, str | Callable[[], str]]
    rng: random.Random
    own: set[str]
    """Phrases that this visitor wrote before: never again."""
    others: set[str]
    """Phrases that stand in reviews of this place: only where nothing else is left."""
    barred: frozenset[str]
    """Slots and tags that do not suit the visit."""
    pieces: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    filled: list[str] = field(default_factory=list)

    @property
    def num_words(self) -> int:
        return sum(len(text.split()) for pieces in self.pieces.values() for text, _ in pieces)

    def add(self, role: str, phrases: Sequence[str], mind: str, *, mark: bool = True) -> bool:
        """Choose, fill and keep one of the phrases; False where none fits beside what is already said."""
        barred = frozenset(slot for slot in self.filled if slot in _ONCE or (slot in _TWICE and self.filled.count(slot) > 1))
        barred |= self.barred
        phrase = pick(phrases, self.rng, without=barred, used=self.own | self.others) or pick(phrases, self.rng, without=barred, used=self.own)
        if phrase is None and not self.pieces:
            phrase = pick(phrases, self.rng)
        if phrase is None:
            return False
        wording = expand(phrase, self.rng)
        text = self.render(wording)
        room = _MAX_WORDS - self.num_words
        if len(text.split()) > room:
            return False
        self.filled.extend(slots_of(wording))
        if mark:
            self.own.add(phrase)
            self.others.add(phrase)
        self.pieces.setdefault(role, []).append((text, mind))
        return True

    def render(self, wording: str) -> str:
        style, rng = self.visit.visitor.style, self.rng
        wording = re.sub(r"\{very\} \{good\}", lambda _: voice.praise(style, rng), wording, flags=re.IGNORECASE)
        return voice.tidy(fill(fill(wording, self.values), self.values))


def compose(visit: Visit, world: World, previous: Place | None, own: set[str], others: set[str], rng: random.Random) -> tuple[str, str]:
    """Title and text of a review. Phrases in `own` are never repeated, those in `others` rarely; both grow by those taken."""
    style, category = visit.visitor.style, visit.place.category
    draft = _Draft(visit, _slot_values(visit, world, previous, rng), rng, own, others, _unsuitable(visit, rng))
    spoken = sentiments(visit, rng)
    target = min(_MAX_WORDS, max(6, round(style.length * rng.lognormvariate(0, 0.28))))
    body = _brief(draft, spoken, target) if target < 16 else _told(draft, spoken, target, previous)
    text = _finish(body, visit, rng)
    title = _title(draft, [pair for pair in spoken if pair[0] in draft.pieces] or spoken, category, rng)
    return voice.spell(title, style), voice.spell(text, style)


def _unsuitable(visit: Visit, rng: random.Random) -> frozenset[str]:
    """Slots and tags that would ring false: streets at sea, travel tales of the townspeople, company of those who came alone."""
    barred = {"visitor" if visit.visitor.is_local else "local"}
    if visit.place.category in ("boat", "ferry"):
        barred.add("street")
    if not visit.visitor.companions and rng.random() < 0.5:
        barred.add("with")
    if datetime.fromtimestamp(visit.timestamp, UTC).month not in (12, 1, 2):
        barred.add("winter")
    return frozenset(barred)


def _slot_values(visit: Visit, world: World, previous: Place | None, rng: random.Random) -> dict[str, str | Callable[[], str]]:
    visitor, place, style = visit.visitor, visit.place, visit.visitor.style
    day = datetime.fromtimestamp(visit.timestamp, UTC)
    season = _SEASONS[day.month - 1]
    company = rng.choice(visitor.companions) if visitor.companions else None
    rivals = [other for other in world.places if other.category == place.category and other is not place]
    favourite = max(visitor.interests, key=visitor.interests.__getitem__)
    return {
        **place.facts,
        "local": "",
        "visitor": "",
        "times": "",
        "winter": "",
        "name": _inside(place.name),
        "town": TOWN,
        "kind": rng.choice(section("town", f"nouns {place.category}")),
        "rival": _inside(rng.choice(rivals).name),
        "previous": _inside(previous.name) if previous else "",
        "we": "we" if company else "I",
        "we_are": "we're" if company else "I'm",
        "were": "were" if company else "was",
        "us": "us" if company else "me",
        "our": "our" if company else "my",
        "ours": "ours" if company else "mine",
        "with": f"with {company}" if company else rng.choice(("alone", "on my own", "by myself")),
        "month": f"{day:%B}",
        "month2": datetime(2000, 1 + (day.month + rng.randrange(3, 9)) % 12, 1).strftime("%B"),
        "weekday": f"{day:%A}",
        "season": season,
        "weather": rng.choice(section("town", f"weather {season}")),
        "interest": dict(line.split(" = ") for line in section("town", "interests"))[favourite],
        "good": lambda: rng.choices(style.good, (5, 3, 1))[0],
        "very": lambda: voice.intensifier(style, rng),
        "nice": lambda: rng.choices(style.nice, (3, 1))[0],
        "bad": lambda: rng.choices(style.bad, (3, 1))[0],
        "loved": style.loved,
    }


def _inside(name: str) -> str:
    """A name as it stands inside a sentence."""
    return "the " + name[4:] if name.startswith("The ") else name


def _sayings(category: str, aspect: str, mind: str) -> tuple[str, ...]:
    """What can be said of an aspect: the category's own phrases twice as likely as the town's."""
    header = f"{aspect} {mind}"
    return (*section(category, header), *section(category, header), *section("town", header))


def _favourites(phrases: Sequence[str], visit: Visit, header: str, rng: random.Random) -> Sequence[str]:
    """Mostly the few phrases that the writer is fond of, sometimes all."""
    if len(phrases) < 4 or rng.random() < 0.45:
        return phrases
    return random.Random(f"{visit.visitor.user_id}/{header}").sample(list(phrases), 3)


def _told(draft: _Draft, spoken: list[tuple[str, str]], target: int, previous: Place | None) -> list[str]:
    """Sentences of a review of some length: parts are added by importance until it is long enough, then put in order."""
    visit, rng, style = draft.visit, draft.rng, draft.visit.visitor.style
    category, mood = visit.place.category, visit.mood
    after = "past good" if mood == "good" else "past bad" if mood == "bad" else ""

    def town(role: str, header: str) -> Callable[[], object]:
        return lambda: role not in draft.pieces and draft.add(role, _favourites(section("town", header), visit, header, rng), mood, mark=False)

    def aspect(index: int) -> Callable[[], object]:
        return lambda: index < len(spoken) and draft.add(spoken[index][0], _sayings(category, *spoken[index]), spoken[index][1])

    def anecdote() -> object:
        return mood != "bad" and draft.add("anecdote", section(category, "anecdotes"), mood)

    parts: list[tuple[float, Callable[[], object]]] = [
        (0, aspect(0)),
        (0.3 if target > 18 else 2, town("opener", f"openers {mood}")) if rng.random() < 0.8 else (9, lambda: None),
        (1, aspect(1)),
        (1.2 + rng.random(), town("closing", f"closings {mood}")),
        (2 - style.storytelling, anecdote),
        (2.2, aspect(2)),
        (3 - style.storytelling, town("context", "contexts")),
        (3.9 - 2.5 * style.humour, town("humour", f"humour {mood}")),
        (3.3, aspect(3)),
        (3.4 if previous and previous.category == category and after else 9, town("comparison", after)),
        (2.5 + 2 * rng.random(), town("comparison", f"comparisons {mood}")),
        (4, anecdote),
        (4.2, aspect(4)),
        (4.4, aspect(5)),
    ]
    for priority, add in sorted(parts, key=lambda part: part[0]):
        if draft.num_words >= target - 4 or priority > 5:
            break
        if draft.num_words + 8 > target * 1.2 and priority > 1:
            break
        add()

    said = [aspect for aspect, _ in spoken if aspect in draft.pieces]
    if style.lists_points and len(spoken) > 2 and target > 25:
        points = _points(draft, [pair for pair in spoken if pair[0] not in said][:3], rng)
        if points:
            draft.pieces["points"] = [(points, mood)]
    story_first = style.storytelling > 0.55
    order = ["context", "opener"] if story_first and rng.random() < 0.5 else ["opener", "context"]
    order += ["anecdote", *said] if story_first and rng.random() < 0.5 else [*said[:2], "anecdote", *said[2:]]
    order += ["comparison", "points", "humour", "closing"]
    return _join(draft, order, set(said))


def _join(draft: _Draft, order: list[str], aspects: set[str]) -> list[str]:
    """The pieces as sentences in order, aspects linked, hedged and shortened by habit."""
    rng, style = draft.rng, draft.visit.visitor.style
    sentences, before, num_hedges = [], "", 0
    for role in order:
        for text, mind in draft.pieces.get(role, []):
            if role in aspects:
                is_turn = before in ("good", "bad") and mind in ("good", "bad") and mind != before
                if rng.random() < (0.75 if is_turn else 0.22 if before else 0):
                    linked = voice.attach(text, is_turn=is_turn, style=style, rng=rng)
                elif num_hedges < 2 and rng.random() < style.hedging * 0.8:
                    linked = voice.hedge(text, style, rng)
                    num_hedges += linked != text
                else:
                    linked = text
                before, text = mind, linked
            if style.drops_pronouns and rng.random() < 0.7:
                text = voice.drop_pronoun(text)
            sentences.append(text)
    return sentences


def _points(draft: _Draft, pairs: list[tuple[str, str]], rng: random.Random) -> str:
    """A summary such as "Plus: great coffee. Minus: noisy."; empty where nothing is left to sum up."""
    plus, minus = ([_short(draft, aspect, mind, rng) for aspect, mind in pairs if (mind == "good") == is_good] for is_good in (True, False))
    halves = [f"{label}: {', '.join(filter(None, points))}." for label, points in (("Plus", plus), ("Minus", minus)) if any(points)]
    return " ".join(halves)


def _short(draft: _Draft, aspect: str, mind: str, rng: random.Random) -> str:
    wordings = short_phrases(draft.visit.place.category, mind).get(aspect, ())
    text = draft.render(expand(rng.choice(wordings), rng)) if wordings else ""
    return text[:1].lower() + text[1:]


def _verdict(draft: _Draft, pairs: list[tuple[str, str]], rng: random.Random) -> str:
    """The short verdicts in one breath, praise before the rest: `great coffee and kind prices, but noisy`."""
    praise, others = ([_short(draft, aspect, mind, rng) for aspect, mind in pairs if (mind == "good") == is_good] for is_good in (True, False))
    return rng.choice((", but ", ", though ", ", ")).join(filter(None, (_series(praise, rng), _series(others, rng))))


def _series(parts: list[str], rng: random.Random) -> str:
    """`a, b and c`, or with commas only where a part holds an "and" or a comma itself."""
    if len(parts) < 2 or rng.random() < 0.4 or any(" and " in part or "," in part for part in parts):
        return ", ".join(parts)
    return ", ".join(parts[:-1]) + rng.choice((" and ", " & ")) + parts[-1]


def _brief(draft: _Draft, spoken: list[tuple[str, str]], target: int) -> list[str]:
    """A review in a breath: two or three verdicts, or one sentence, and perhaps a closing word."""
    visit, rng = draft.visit, draft.rng
    mood = visit.mood
    if rng.random() < 0.35:
        aspect, mind = spoken[0]
        draft.add(aspect, _sayings(visit.place.category, aspect, mind), mind)
    else:
        pairs = spoken[: 2 if target < 11 else 3]
        text = _verdict(draft, pairs, rng)
        draft.pieces["brief"] = [(voice.tidy(text) + ".", mood)]
    if draft.num_words < target - 2:
        header = f"{'openers' if rng.random() < 0.25 else 'closings'} {mood}"
        brief = [phrase for phrase in section("town", header) if len(phrase.split()) <= 5]
        draft.add("closing" if header.startswith("closings") else "opener", _favourites(brief, visit, header, rng), mood, mark=False)
    if draft.num_words < 6:
        draft.add("rest", _sayings(visit.place.category, *spoken[-1]), spoken[-1][1])
    return [text for role in ("opener", *aspects_of(visit.place.category), "brief", "rest", "closing") for text, _ in draft.pieces.get(role, [])]


def _finish(sentences: list[str], visit: Visit, rng: random.Random) -> str:
    """The sentences as one text with the writer's punctuation, capitals and smile."""
    style, mood = visit.visitor.style, visit.mood
    text = voice.tidy(sentences[0])
    for sentence in sentences[1:]:
        if text.endswith(".") and rng.random() < style.exclamation * {"good": 0.5, "mixed": 0.15, "bad": 0.1}[mood]:
            text = text[:-1] + ("!!" if style.exclamation > 0.75 and style.formality < 0.4 else "!")
        is_joined = style.joint != ". " and text.endswith(".") and len(text.split()) > 4 and not sentence.startswith(("Plus:", "Minus:"))
        text = voice.join(text, sentence, style) if is_joined and rng.random() < 0.22 else f"{text} {sentence}"
    text = voice.tidy(text)
    if mood == "good" and text.endswith(".") and rng.random() < style.exclamation:
        text = text[:-1] + "!"
    if style.is_shouting and rng.random() < 0.7:
        text = re.sub(r"\b(really|super|never|adored|loved|best|incredibly|amazing|love|whole)\b", lambda match: match[0].upper(), text, count=2)
    if style.ends_bare and text.endswith(".") and not style.smile:
        text = text[:-1]
    smile = ""
    if style.smile and mood == "good" and rng.random() < 0.75:
        smile = f" {style.smile}"
    return (text.lower() if style.is_lower_case else text) + smile


def _title(draft: _Draft, spoken: list[tuple[str, str]], category: str, rng: random.Random) -> str:
    """A title of at most ten words: a saying of the category, of the town, or the first verdicts in short."""
    style, mood = draft.visit.visitor.style, draft.visit.mood
    choice = rng.random()
    if choice < 0.38:
        title = draft.render(expand(rng.choice(section(category, f"titles {mood}")), rng))
    elif choice < 0.56:
        title = draft.render(expand(rng.choice(section("town", f"titles {mood}")), rng))
    else:
        pairs = spoken[: rng.choice((1, 2, 2))]
        title = _verdict(draft, pairs, rng)
    title = voice.tidy(title)
    if style.title_case == "title":
        title = voice.title_words(title)
    elif style.title_case == "lower" or style.is_lower_case:
        title = title.lower()
    if mood == "good" and rng.random() < style.exclamation * 0.8:
        title += "!"
    return title
