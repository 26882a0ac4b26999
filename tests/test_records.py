from __future__ import annotations

import pytest

from grasper.records import Example, Item, Request, Review, Task, request_for, tasks_of

TARGET = Review("r1", "u", "i", text="the text", title="the title", rating=2.0)
ITEM = Item("i", name="Anchor Inn")


@pytest.mark.parametrize(
    ("task", "title", "text", "rating"),
    [("long", "the title", None, None), ("title", None, "the text", None), ("rating", "the title", "the text", None)],
)
def test_a_request_holds_the_given_fields_only(task: Task, title: str | None, text: str | None, rating: float | None) -> None:
    """Long text sees the title, title sees the text, rating sees both; nothing sees the rating."""
    request = request_for(Example("e", TARGET, "dev-a"), task, ITEM)
    assert request == Request("e", task, "u", ITEM, title, text, rating)


def test_long_text_without_title_sees_the_rating() -> None:
    """Sets without titles give rating and item instead."""
    target = Review("r1", "u", "i", text="the text", rating=2.0)
    request = request_for(Example("e", target, "dev-a"), "long", ITEM)
    assert (request.title, request.text, request.rating) == (None, None, 2.0)


def test_tasks_need_their_reference() -> None:
    """A target without title has no title task, one without rating no rating task."""
    assert tasks_of(Example("e", TARGET, "dev-a")) == ("long", "title", "rating")
    assert tasks_of(Example("e", Review("r", "u", "i", text="x", rating=3.0), "dev-a")) == ("long", "rating")
    assert tasks_of(Example("e", Review("r", "u", "i", text="x", title="y"), "dev-a")) == ("long", "title")
