"""harbour: the bundled data set equals its generator's output, has the promised shape, and hides the promised structure."""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from grasper.errors import DataFormatError, MissingFileError
from grasper.prepare.harbour import SPLIT_USERS, HarbourData, load_latent, phrases, suitability, voice, write
from grasper.prepare.harbour.world import CATEGORIES, build_places, build_visitors

FOLDER = Path(__file__).parents[2] / "data" / "harbour"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, HarbourData]:
    folder = tmp_path_factory.mktemp("fresh") / "harbour"
    return folder, write(folder)


@pytest.fixture(scope="module")
def reviews() -> pd.DataFrame:
    return pd.concat([pd.read_parquet(FOLDER / f"{split}.parquet").assign(split=split) for split in SPLIT_USERS], ignore_index=True)


@pytest.fixture(scope="module")
def latent() -> dict[str, Any]:
    return load_latent(FOLDER)


def test_committed_files_equal_a_fresh_generation(written: tuple[Path, HarbourData], latent: dict[str, Any]) -> None:
    """Whoever runs the generator gets the committed tables and truth."""
    _, fresh = written
    for name, table in (*fresh.reviews.items(), ("items", fresh.items)):
        pd.testing.assert_frame_equal(pd.read_parquet(FOLDER / f"{name}.parquet"), table, check_dtype=False)
    assert latent == fresh.latent


def test_visitors_depend_on_seed_and_name_only() -> None:
    """A visitor is the same in whatever company, and another one under another seed."""
    alone, together = build_visitors(["mira.k"], 7), build_visitors(["old_salt_77", "mira.k"], 7)
    assert alone[0] == together[1]
    assert build_visitors(["mira.k"], 8)[0] != alone[0]


def test_sizes_and_sparsity(reviews: pd.DataFrame) -> None:
    """About 700 users, 160 items, 2,500 reviews; most users with one or two; a tail long enough to learn links from."""
    assert reviews.groupby("split")["user_id"].nunique().to_dict() == SPLIT_USERS
    assert len(pd.read_parquet(FOLDER / "items.parquet")) == sum(CATEGORIES.values()) == 160
    assert 2300 <= len(reviews) <= 2700
    sizes = reviews.groupby("user_id").size()
    assert (sizes <= 2).mean() > 0.6
    assert sizes.max() <= 20
    for split in ("dev", "test"):
        counts = reviews[reviews["split"] == split].groupby("user_id").size()
        assert 0.75 <= (counts == 1).mean() <= 0.85
        assert counts.max() <= 5
    assert (reviews[reviews["split"] == "train"].groupby("user_id").size() >= 5).sum() > 100


def test_layout(reviews: pd.DataFrame) -> None:
    """Columns and types of the benchmark layout; a user is in one split only, rows together, newest first; nobody reviews an item twice."""
    train = pd.read_parquet(FOLDER / "train.parquet")
    assert list(train.columns) == ["user_id", "item_id", "rating", "title", "text", "timestamp"]
    assert train["rating"].dtype == "float32"
    assert train["timestamp"].dtype == "int64"
    assert (reviews.groupby("user_id")["split"].nunique() == 1).all()
    assert reviews["user_id"].str.lower().nunique() == reviews["user_id"].nunique()
    starts = (reviews["user_id"] != reviews["user_id"].shift()).sum()
    assert starts == reviews["user_id"].nunique()
    assert reviews.groupby("user_id")["timestamp"].apply(lambda times: times.is_monotonic_decreasing).all()
    assert not reviews.duplicated(["user_id", "item_id"]).any()
    assert set(reviews["item_id"]) <= set(pd.read_parquet(FOLDER / "items.parquet")["item_id"])


def test_reserved_users_suffice(reviews: pd.DataFrame) -> None:
    """The hashes of the names leave enough alignment users and two usable halves of dev."""
    users = reviews.drop_duplicates("user_id")
    digests = users["user_id"].map(lambda user_id: hashlib.sha256(user_id.encode()).hexdigest())
    assert (digests[users["split"] == "train"].str[0].map(lambda digit: int(digit, 16) < 3)).sum() >= 80
    halves = digests[users["split"] == "dev"].str[1].map(lambda digit: int(digit, 16) % 2).value_counts()
    assert halves.min() >= 45


def test_texts_are_people_sized_and_none_repeats(reviews: pd.DataFrame) -> None:
    """6–120 words around a mean of 45, titles of at most ten; no text occurs twice, not even in other punctuation or letter case."""
    words = reviews["text"].str.split().str.len()
    assert words.between(6, 120).all()
    assert 38 <= words.mean() <= 52
    assert reviews["title"].str.split().str.len().between(1, 10).all()
    assert reviews["text"].str.lower().str.replace(r"\W", "", regex=True).is_unique


def test_near_repeats_are_rare(reviews: pd.DataFrame) -> None:
    """No two texts share half of their runs of four words."""
    runs = [set(zip(*(text.lower().split()[i:] for i in range(4)), strict=False)) for text in reviews["text"]]
    with_run: dict[tuple[str, ...], list[int]] = {}
    for index, own in enumerate(runs):
        for run in own:
            with_run.setdefault(run, []).append(index)
    for index, own in enumerate(runs):
        shared = Counter(other for run in own for other in with_run[run] if other != index)
        assert all(count < 0.5 * len(own | runs[other]) for other, count in shared.most_common(3)), reviews["text"][index]


@pytest.mark.parametrize(
    "broken",
    [
        r"[{}|]",
        r"\bI (?:were|are)\b",
        r"\b[Ww]e (?:was|is|am)\b",
        r"\b[Aa] [aeiou](?!ne-|uro|ni)",
        r" [,.;]",
        r"  ",
        r"\bthe The\b",
        r"\.\.\.\.",
        r",\.",
    ],
)
def test_grammar_holds(reviews: pd.DataFrame, broken: str) -> None:
    """No unfilled slot, no verb in the wrong person, no stray spaces or stops."""
    found = reviews[reviews["text"].str.contains(broken) | reviews["title"].str.contains(broken)]
    assert found.empty, found["text"].iloc[0]


def test_ratings_are_whole_stars_of_every_number(reviews: pd.DataFrame) -> None:
    """Ratings are 1–5, lean to the kind side as real ones do, and use the whole scale."""
    assert set(reviews["rating"]) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert 3.6 <= reviews["rating"].mean() <= 4.2


def test_quality_shows_in_ratings(reviews: pd.DataFrame, latent: dict[str, Any]) -> None:
    """The better a place by the truth, the better it is rated; strict visitors rate lower."""
    quality = reviews["item_id"].map({item_id: np.mean(list(item["quality"].values())) for item_id, item in latent["items"].items()})
    strictness = reviews["user_id"].map({user_id: user["strictness"] for user_id, user in latent["users"].items()})
    assert np.corrcoef(quality, reviews["rating"])[0, 1] > 0.6
    assert np.corrcoef(strictness, reviews["rating"])[0, 1] < -0.2


def test_interests_foretell_visits_better_than_popularity(reviews: pd.DataFrame, latent: dict[str, Any]) -> None:
    """Of the ten items that suit a dev or test user best, by the truth, far more are visited than of the ten most popular."""
    suits = suitability(latent)
    popular = set(reviews.loc[reviews["split"] == "train", "item_id"].value_counts().index[:10])
    seen = reviews[reviews["split"] != "train"]
    by_interest = np.mean([row.item_id in set(suits.loc[row.user_id].nlargest(10).index) for row in seen.itertuples()])
    by_popularity = seen["item_id"].isin(popular).mean()
    assert by_interest > 2 * by_popularity


def test_links_can_be_learnt_from_visits_alone(reviews: pd.DataFrame) -> None:
    """Item neighbours by shared visitors find another visit far more often than popularity does: who has no history is predictable."""
    train = reviews[reviews["split"] == "train"]
    visits = pd.crosstab(train["user_id"], train["item_id"]).to_numpy(float)
    popularity, shared_visitors = visits.sum(axis=0), visits.T @ visits
    rng = np.random.default_rng(0)
    hits = {"neighbours": 0, "popular": 0}
    for row in visits[visits.sum(axis=1) > 1]:
        for query, withheld in (rng.permutation(np.flatnonzero(row))[:2] for _ in range(3)):
            neighbours = (shared_visitors[:, query] - row) / np.sqrt(popularity * popularity[query])  # without this visitor's own visits
            for name, scores in (("neighbours", neighbours), ("popular", popularity.copy())):
                scores[query] = -1
                hits[name] += int(withheld in np.argsort(-scores, kind="stable")[:10])
    assert hits["neighbours"] > 1.4 * hits["popular"]


def _style(text: str) -> list[float]:
    """Length, exclamation, letter case, contractions, joints and pronouns of a text."""
    words = text.split()
    return [
        np.log(len(words)),
        text.count("!") / max(1, len(re.findall(r"[.!?]", text))),
        float(text == text.lower()),
        len(re.findall(r"n't|'re|'ve|'ll", text)) / len(words),
        float(" - " in text),
        float("; " in text),
        float("..." in text),
        float(" & " in text),
        float(bool(re.search(r"\b(I|my|me)\b", text))) - float(bool(re.search(r"\b([Ww]e|us|our)\b", text))),
        float(text.rstrip()[-1] not in ".!?"),
    ]


def test_writers_resemble_themselves(reviews: pd.DataFrame) -> None:
    """Two texts of one user are closer in style than two texts of different users."""
    users = reviews.groupby("user_id").filter(lambda rows: len(rows) > 1)
    features = np.array([_style(text) for text in users["text"]])
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    pairs = users.reset_index(drop=True).groupby("user_id").indices.values()
    same = np.mean([np.linalg.norm(features[rows[0]] - features[rows[1]]) for rows in pairs])
    shuffled = np.random.default_rng(0).permutation(len(features))
    different = np.mean(np.linalg.norm(features - features[shuffled], axis=1))
    assert same < 0.8 * different


def test_style_parameters_show_in_the_texts(reviews: pd.DataFrame, latent: dict[str, Any]) -> None:
    """Lower-case writers write in lower case, wordy ones at length, exclaiming ones exclaim."""
    styles = pd.DataFrame.from_dict({user_id: user["style"] for user_id, user in latent["users"].items()}, orient="index")
    own = styles.loc[reviews["user_id"]].reset_index(drop=True)
    texts = reviews["text"]
    plain = texts.str.replace(r"[:;<].{1,2}$", "", regex=True)
    assert (plain[own["is_lower_case"].astype(bool)].map(lambda text: text == text.lower())).all()
    assert np.corrcoef(own["length"].astype(float), texts.str.split().str.len())[0, 1] > 0.8
    assert np.corrcoef(own["exclamation"].astype(float).clip(0), texts.str.count("!"))[0, 1] > 0.4


def test_text_agrees_with_category_and_rating(reviews: pd.DataFrame) -> None:
    """Praise and blame fall on the right side of the scale."""
    assert reviews.loc[reviews["text"].str.contains("What a disappointment|won't be back|Never again", case=False), "rating"].max() <= 2
    assert reviews.loc[reviews["text"].str.contains("Highly recommended|Five stars from", case=False), "rating"].min() >= 4


def test_every_phrase_can_be_told() -> None:
    """Each phrase of the bank expands without brackets left over, and every aspect of every category has its sayings in all sentiments."""
    rng = random.Random(0)
    for name in (*CATEGORIES, "town"):
        for header, found in phrases.load_bank(name).items():
            for phrase in found:
                assert not re.search(r"[()|]", phrases.expand(phrase, rng).replace(" | ", "")), (name, header, phrase)
    for category in CATEGORIES:
        for aspect in phrases.aspects_of(category):
            for sentiment in ("good", "mixed", "bad"):
                sayings = phrases.section(category, f"{aspect} {sentiment}") + phrases.section("town", f"{aspect} {sentiment}")
                assert sayings, (category, aspect, sentiment)
                assert phrases.short_phrases(category, sentiment).get(aspect), (category, aspect, sentiment)


def test_expand_decides_nested_choices_innermost_first() -> None:
    """`(a|b (c|d))` gives a, b c or b d, and nothing else."""
    rng = random.Random(1)
    assert {phrases.expand("x (a|b (c|d))", rng) for _ in range(60)} == {"x a", "x b c", "x b d"}


def test_unpaired_brackets_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A slip in a phrase file is reported with file and line."""
    (tmp_path / "phrases").mkdir()
    (tmp_path / "phrases" / "odd.txt").write_text("[taste good]\nGood (coffee|tea\n", encoding="utf-8")
    monkeypatch.setattr(phrases, "files", lambda _: tmp_path)
    with pytest.raises(DataFormatError, match=r"odd\.txt line 2"):
        phrases.load_bank("odd")


@pytest.mark.parametrize(
    ("raw", "tidied"),
    [
        ("we ate a apple .  it was good", "We ate an apple. It was good"),
        ("A one-eyed cat , of course", "A one-eyed cat, of course"),
        ("so... it was fine", "So... it was fine"),
    ],
)
def test_tidy(raw: str, tidied: str) -> None:
    """Articles, spaces and capitals are put right; after three dots no capital is forced."""
    assert voice.tidy(raw) == tidied


def test_places_are_known_for_two_aspects() -> None:
    """Every place has a name and a speciality of its own category, and two aspects it stands out in."""
    for place in build_places(7):
        assert place.name in phrases.section(place.category, "names")
        assert place.facts["special"] in phrases.section(place.category, "speciality")
        assert sum(value == 1.0 for value in place.strength.values()) == 2


def test_write_leaves_the_files_that_prepare_expects(written: tuple[Path, HarbourData], tmp_path: Path) -> None:
    """Five files, the truth apart from the tables; a folder without truth says so."""
    folder, data = written
    assert {path.name for path in folder.iterdir()} == {"train.parquet", "dev.parquet", "test.parquet", "items.parquet", "latent.json.gz"}
    assert load_latent(folder) == data.latent
    with pytest.raises(MissingFileError, match="latent"):
        load_latent(tmp_path)
