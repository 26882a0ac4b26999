"""Analysed paths: planted habits and topics are found, the answer never shows."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grasper.reason.analyse import analyse, analyse_review
from grasper.reason.format import Answer
from grasper.reason.leak import leaks, leaks_review
from grasper.reason.reading import read
from grasper.records import TASKS, Example, Item, Profile, Request, Review, request_for

ITEM = Item("i", "Gull Inn")
NEIGHBOURS = tuple(
    Review(f"n{number}", f"v{number}", "i", text, "Nice", 5.0)
    for number, text in enumerate(
        ["The breakfast was great. Lovely harbour view.", "Great breakfast and friendly staff.", "Good breakfast, dirty carpet."]
    )
)


def own(*texts: str) -> Profile:
    return Profile(own=tuple(Review(f"o{number}", "u", "j", text) for number, text in enumerate(texts)))


def request(task: str = "long", **given: object) -> Request:
    return Request("e", task, "u", ITEM, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "trait"),
    [
        ("LOVED THE ROOMS AND THE WHOLE PLACE", "capitals"),
        ("nice rooms, we slept well", "lower case"),
        ("What a view! We will be back!", "exclaims"),
        ("The food was fine, maybe somewhat salty.", "hedges"),
        ("The soup came twice, haha. Fine by me.", "jokes"),
        ("My husband and I loved it, thank you, lovely people.", "warm"),
        ("We took our boat and then we had our lunch.", "writes as we"),
        ("it was a long trip and they gave the kids some soup and bread", "no full stops"),
    ],
)
def test_planted_habits_are_found(text: str, trait: str) -> None:
    """One habit, one text."""
    assert trait in analyse(request(title="x"), own(text, text)).style.split("; ")


def test_length_is_the_median_of_own_reviews() -> None:
    """5, 20 and 100 words make about 20."""
    style = analyse(request(title="x"), own(*("soup " * count for count in (5, 20, 100)))).style
    assert style.startswith("medium")
    assert style.endswith("about 20 words")


def test_a_bare_rating_says_nothing_of_how_somebody_writes() -> None:
    """Neither beside texts nor alone: then it is as without a history."""
    texts = own(*["soup " * 30] * 2)
    assert analyse(request(title="x"), Profile(own=(*texts.own, *own("", " ", "").own))).style == analyse(request(title="x"), texts).style
    assert analyse(request(title="x"), Profile(own("").own, NEIGHBOURS)).style == analyse(request(title="x"), Profile((), NEIGHBOURS)).style


def test_interests_behind_bare_ratings_are_likely_ones() -> None:
    """What others write about says no more of somebody who wrote no word than of somebody without a history."""
    bare, nobody = (analyse(request(title="x"), Profile(own=own, neighbours=NEIGHBOURS)).interests for own in (own("", "").own, ()))
    assert bare == nobody
    assert bare.startswith("likely breakfast")


def test_zero_history_is_unknown_and_shows_what_the_request_shows() -> None:
    """The given title exclaims; others write short texts."""
    path = analyse(request(title="Wow!"), Profile(neighbours=NEIGHBOURS))
    assert path.style == "unknown; exclaims; others write about 5 words"
    assert path.interests.startswith("likely breakfast")
    assert analyse(request(title="Fine"), Profile()).interests == "unknown"


def test_topics_that_return_come_first() -> None:
    """Breakfast stands in all three reviews; own interests weigh more than others'."""
    assert analyse(request(title="Nice"), Profile(neighbours=NEIGHBOURS)).plan.startswith("positive, about 5 words; praise breakfast")
    profile = Profile(own=own("The sauna was good.", "Great sauna.").own, neighbours=NEIGHBOURS)
    assert analyse(request(title="Nice"), profile).interests.startswith("sauna, breakfast")


@pytest.mark.parametrize(
    ("given", "feeling"),
    [
        ({"title": "Awful!"}, "negative"),
        ({"title": "Not good"}, "negative"),
        ({"title": "Great place"}, "positive"),
        ({"rating": 3.0}, "mixed"),
        ({"rating": 5.0}, "very positive"),
    ],
)
def test_the_plan_takes_its_feeling_from_the_given_field(given: dict[str, object], feeling: str) -> None:
    """The neighbours are glad; the request decides."""
    assert analyse(request(**given), Profile(neighbours=NEIGHBOURS)).plan.split(",")[0] == feeling  # type: ignore[arg-type]


def test_a_negative_plan_complains_about_what_others_complain_about() -> None:
    """Only one neighbour mentions the carpet, and it is dirty."""
    assert "complain about carpet" in analyse(request(title="Horrible"), Profile(neighbours=NEIGHBOURS)).plan


def test_training_plans_name_topics_and_length_of_the_answer() -> None:
    """The warm start: the plan then predicts the text that follows it."""
    answer = Answer(None, "Nice", "The sauna was great. The corridor was noisy and the lift broken. Breakfast was good.", 4.0, True)
    plan = analyse(request(title="Nice"), Profile(neighbours=NEIGHBOURS), answer).plan
    assert plan == "positive, about 15 words; praise breakfast, sauna; complain about corridor, lift"


@pytest.mark.parametrize(("title", "text"), [("Positive", "It went well."), ("Mixed", "Some good, some bad.")])
def test_words_that_every_path_has_are_no_way_round_the_guard(title: str, text: str) -> None:
    """The path itself says `positive` or `mixed`; then it says next to nothing."""
    target = Review("t", "u", "i", text, title, 4.0)
    asked = request_for(Example("e", target, "align"), "title", ITEM)
    assert not leaks(analyse(asked, Profile(), Answer(None, title, text, 4.0, True)), asked, Profile(), target)


def test_review_paths_need_no_request() -> None:
    """A predicted item has only its neighbours' reviews."""
    path = analyse_review(ITEM, Profile(neighbours=NEIGHBOURS))
    assert path.style.startswith("unknown")
    assert "breakfast" in path.plan


def test_review_paths_do_not_give_the_review_away() -> None:
    """What the text praises is its title: the plan then says what others praise."""
    profile = Profile(neighbours=NEIGHBOURS)
    harmless = analyse_review(ITEM, profile, Answer(None, "Stay", "A great sauna.", 5.0, True))
    assert "sauna" in harmless.plan
    assert analyse_review(ITEM, profile, Answer(None, "Great sauna", "A great sauna.", 5.0, True)) == analyse_review(ITEM, profile)


VOCABULARY = "staff room great awful breakfast view not four stars 5 the was and carpet soup boat we I loved ! . , nice"
texts = st.lists(st.sampled_from(VOCABULARY.split()), min_size=1, max_size=40).map(" ".join)
reviews = st.builds(Review, st.just("r"), st.just("u"), st.just("i"), texts, texts, st.sampled_from([1.0, 3.0, 5.0]))


@settings(deadline=None)
@given(reviews, st.lists(reviews, max_size=3), st.lists(reviews, max_size=4))
def test_paths_written_with_the_answer_in_view_do_not_give_it_away(target: Review, own_reviews: list[Review], neighbours: list[Review]) -> None:
    """No five words, no rating; and rating plans are the same with and without the answer. Short, deterministic, three lines."""
    profile = Profile(tuple(own_reviews), tuple(neighbours))
    answer = Answer(None, target.title, target.text, target.rating, True)
    for task in TASKS:
        asked = request_for(Example("e", target, "align"), task, ITEM)
        path = analyse(asked, profile, answer)
        assert path == analyse(asked, profile, answer)
        assert len(path.render().split()) <= 50
        assert path.render().count("\n") == 2
        assert not leaks(path, asked, profile, target)
        if task == "rating":
            assert path == analyse(asked, profile)
    assert not leaks_review(analyse_review(ITEM, profile, answer), ITEM, profile, target)


def test_a_path_takes_milliseconds() -> None:
    """Three hundred, each with texts never read before, in a second and a half of processor time."""
    started = time.process_time()
    for number in range(300):
        profile = Profile(neighbours=tuple(Review("n", "v", "i", f"{review.text} {number}", None, 4.0) for review in NEIGHBOURS))
        analyse(request(title=f"Nice {number}"), profile)
    assert time.process_time() - started < 1.5


def test_negation_turns_a_feeling_round() -> None:
    """`not good` is a complaint."""
    assert read("The soup was not good.").phrases == {"soup": -1.0}
