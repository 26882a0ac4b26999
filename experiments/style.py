"""Does style retrieval find style, and not topic? → experiments/results/style.json

    python experiments/style.py --data ../shared/data

*Halves.* The reviews of each user with at least four are split into two halves about different items. The features are learned from one half of the
users; for the others, one half of each user's reviews asks for the other half among everybody's. `tfidf` (words) and `characters` (TF-IDF of
character 3- and 4-grams) are what a search for topic finds; chance is what a random order would give. `one_review` keeps one review on either side.

*Line-up.* A review of item i by user u: does it resemble u's review of another item more than other people's reviews of i? Topic says no, style
says yes; 0.5 is chance.

*Harbour.* The bundled data set knows how its people write. The features are learned from one half of them; among the others, for every trait, the
correlation between a person's trait and the mean of the five people found for them; `same_kind` is the share of found people with the same interests,
beside what a random choice would give.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from experiments.publish import made_by
from grasper.config import PrepareConfig
from grasper.evaluate.compare import Bootstrap, summarize
from grasper.files import read_json, write_json
from grasper.prepare import build_tables
from grasper.prepare.bundled import harbour_folder
from grasper.prepare.harbour import load_latent
from grasper.retrieve.similar import unit
from grasper.retrieve.style import FLOOR, weights_of
from grasper.retrieve.stylometry import Stylometry, mean_rows
from grasper.runs import stable_hash

ROOT = Path(__file__).parents[1]
SETS = ("amazon14_musical_instruments", "amazon14_digital_music_part", "yelp_10k", "beeradvocate_part")
MIN_REVIEWS = 4
TRAITS = ("length", "warmth", "exclamation", "hedging", "humour", "formality", "storytelling")
HABITS = ("is_lower_case", "drops_pronouns", "is_shouting", "misspells", "ampersand", "ends_bare", "lists_points")
NUM_FOUND = 5
NUM_DRAWS = 1000


def load(path: Path, seed: int) -> pd.DataFrame:
    """Reviews of users who wrote about at least four items, with `half` (0 or 1, no item in both) and `is_learned` (which users teach)."""
    table = pd.read_parquet(path)
    table = table[table["text"].str.strip() != ""].drop_duplicates(["user_id", "text"])
    table = table[table.groupby("user_id")["item_id"].transform("nunique") >= MIN_REVIEWS].reset_index(drop=True)
    order = table.groupby("user_id")["item_id"].transform(lambda items: items.map(lambda item: stable_hash(f"{seed}/{item}")).rank(method="dense"))
    table["half"] = order.astype(int) % 2
    table["is_learned"] = table["user_id"].map(lambda user: int(stable_hash(user)[1], 16) % 2 == 0)
    return table


def spaces(texts: Sequence[str], teachers: pd.DataFrame) -> dict[str, np.ndarray | csr_matrix]:
    """The texts in each space that is compared, `[texts, dim]`; learned from other people's texts."""
    style = Stylometry().fit(teachers["text"].tolist(), teachers["user_id"].tolist())
    vectors = style.vectors(texts)
    found: dict[str, np.ndarray | csr_matrix] = {"style": vectors}
    found |= {f"only_{name}": vectors[:, block] for name, block in style.blocks.items()}
    words = TfidfVectorizer(sublinear_tf=True, min_df=2).fit(teachers["text"])
    characters = TfidfVectorizer(sublinear_tf=True, min_df=3, analyzer="char_wb", ngram_range=(3, 4)).fit(teachers["text"])
    return found | {"tfidf": csr_matrix(words.transform(texts)), "characters": csr_matrix(characters.transform(texts))}


def ranks(asked: np.ndarray | csr_matrix, answers: np.ndarray | csr_matrix) -> np.ndarray:
    """The place of each row's own answer among all answers by cosine, ties as halves, `[users]`."""
    likeness = unit(_dense(asked)) @ unit(_dense(answers)).T
    own = np.diag(likeness)[:, None]
    return np.asarray(1 + (likeness > own).sum(axis=1) + ((likeness == own).sum(axis=1) - 1) / 2)


def _dense(rows: np.ndarray | csr_matrix) -> np.ndarray:
    return rows.toarray() if isinstance(rows, csr_matrix) else rows


def by_user(rows: np.ndarray | csr_matrix, table: pd.DataFrame, *, is_style: bool) -> np.ndarray:
    """One mean vector per user, in the order of their ids."""
    codes, names = pd.factorize(table["user_id"], sort=True)
    weights = weights_of(table["text"].tolist()) if is_style else np.ones(len(table))
    return mean_rows(_dense(rows), codes, weights, len(names))


def halves(table: pd.DataFrame, vectors: dict[str, np.ndarray | csr_matrix], bootstrap: Bootstrap) -> dict[str, Any]:
    """MRR and hit@10 of finding the other half, by space."""
    columns: dict[tuple[str, str], np.ndarray] = {}
    for name, rows in vectors.items():
        is_first = (table["half"] == 0).to_numpy()
        is_style = name == "style" or name.startswith("only_")
        place = ranks(*(by_user(rows[side], table[side], is_style=is_style) for side in (is_first, ~is_first)))
        columns |= {(name, "mrr"): 1 / place, (name, "hit@10"): 1.0 * (place <= 10), (name, "hit@1"): 1.0 * (place <= 1)}
    number = len(place)
    chance = {"mrr": float(np.mean(1 / np.arange(1, number + 1))), "hit@10": min(1.0, 10 / number), "hit@1": 1 / number}
    minus = {("style_minus_tfidf", metric): columns["style", metric] - columns["tfidf", metric] for metric in chance}
    return summarize(bootstrap.estimate(pd.DataFrame(columns | minus))) | {"chance": chance}


def line_up(table: pd.DataFrame, vectors: dict[str, np.ndarray | csr_matrix], seed: int) -> dict[str, Any]:
    """Share of other people's reviews of the same item that resemble a review less than its author's review of another item."""
    generator = np.random.default_rng(seed)
    rows_of_user, rows_of_item = table.groupby("user_id").indices, table.groupby("item_id").indices
    columns: dict[str, list[float]] = {name: [] for name in vectors}
    users: list[str] = []
    items, authors = table["item_id"].astype(str).tolist(), table["user_id"].astype(str).tolist()
    normal = {name: unit(_dense(rows)) for name, rows in vectors.items()}
    for user_id, rows in rows_of_user.items():
        asked = generator.choice(rows)
        elsewhere = [row for row in rows if items[row] != items[asked]]
        others = [row for row in rows_of_item[items[asked]] if authors[row] != user_id]
        if not elsewhere or not others:
            continue
        own = generator.choice(elsewhere)
        users.append(str(user_id))
        for name, vector in normal.items():
            gap = vector[own] @ vector[asked] - vector[others] @ vector[asked]
            columns[name].append(float(np.mean(np.where(gap == 0, 0.5, gap > 0))))
    return summarize(Bootstrap(users, seed=seed).estimate(pd.DataFrame(columns)))


def measure(path: Path, seed: int) -> dict[str, Any]:
    """All of one data set."""
    table = load(path, seed)
    teachers = table[table["is_learned"]]
    asked = table[~table["is_learned"]].reset_index(drop=True)
    vectors = spaces(asked["text"].tolist(), teachers)
    users = sorted(asked["user_id"].unique())
    bootstrap = Bootstrap(users, seed=seed)
    first = asked.assign(order=[stable_hash(f"{user}/{item}") for user, item in zip(asked["user_id"], asked["item_id"], strict=True)])
    single = first.sort_values("order").drop_duplicates(["user_id", "half"]).index.sort_values()
    alone = {name: rows[single] for name, rows in vectors.items()}
    # The two halves of a random pair of people: how often would the floor let strangers pass?
    people = unit(by_user(vectors["style"], asked, is_style=True))
    strangers = (people @ people.T)[~np.eye(len(people), dtype=bool)]
    return {
        "users": len(users),
        "reviews": len(asked),
        "halves": halves(asked, vectors, bootstrap),
        "one_review": halves(asked.loc[single].reset_index(drop=True), alone, bootstrap),
        "line_up": line_up(asked, vectors, seed),
        "strangers_above_floor": float((strangers >= FLOOR).mean()),
    }


def harbour(seed: int) -> dict[str, Any]:
    """Traits of the five people found for each, against the truth."""
    tables, _ = build_tables(PrepareConfig(), seed=seed)
    people = load_latent(harbour_folder())["users"]
    is_learned = tables.reviews["user_id"].map(lambda user: int(stable_hash(user)[1], 16) % 2 == 0)
    teachers, reviews = tables.reviews[is_learned], tables.reviews[~is_learned]
    reviews = reviews[reviews.groupby("user_id")["item_id"].transform("size") >= 2].reset_index(drop=True)
    vectors = spaces(reviews["text"].tolist(), teachers)
    users = sorted(reviews["user_id"].unique())
    traits = pd.DataFrame({user: people[user]["style"] for user in users}).T
    traits["length"] = np.log(traits["length"].astype(float))
    values = traits[[*TRAITS, *HABITS]].astype(float)
    values = (values - values.mean()) / values.std(ddof=0)
    kinds = np.array([people[user]["kind"] for user in users])
    generator = np.random.default_rng(seed)
    found = {name: _nearest(by_user(rows, reviews, is_style=name == "style")) for name, rows in vectors.items() if not name.startswith("only_")}
    found["random"] = np.array([generator.choice(np.delete(np.arange(len(users)), place), NUM_FOUND, replace=False) for place in range(len(users))])
    summary: dict[str, Any] = {}
    for name, rows in found.items():
        own = values.to_numpy()
        summary[name] = dict(zip(values, correlations(own, own[rows].mean(axis=1), seed), strict=True))
    same = pd.DataFrame({(name, "same_kind"): (kinds[rows] == kinds[:, None]).mean(axis=1) for name, rows in found.items()})
    for name, entries in summarize(Bootstrap(users, seed=seed).estimate(same)).items():
        summary[name] |= entries
    return {"users": len(users), **summary}


def correlations(first: np.ndarray, second: np.ndarray, seed: int) -> list[dict[str, float]]:
    """Pearson's correlation of every column with its counterpart, `[n, columns]` each, and its percentiles over drawn rows."""
    generator = np.random.default_rng(seed)

    def each(rows: np.ndarray) -> np.ndarray:
        one, two = (part[rows] - part[rows].mean(axis=0) for part in (first, second))
        return np.asarray((one * two).sum(axis=0) / np.sqrt((one**2).sum(axis=0) * (two**2).sum(axis=0)))

    value = each(np.arange(len(first)))
    with np.errstate(invalid="ignore"):  # a rare trait may be in nobody that was drawn
        draws = np.array([each(generator.integers(0, len(first), len(first))) for _ in range(NUM_DRAWS)])
    bounds = np.nanquantile(draws, [0.025, 0.975], axis=0)
    found = np.round([value, *bounds], 6).T.tolist()
    return [{"value": middle, "low": low, "high": high, "n": len(first)} for middle, low, high in found]


def _nearest(rows: np.ndarray) -> np.ndarray:
    likeness = unit(rows) @ unit(rows).T
    np.fill_diagonal(likeness, -np.inf)
    return np.argsort(-likeness, axis=1, kind="stable")[:, :NUM_FOUND]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the review sets, one folder each")
    parser.add_argument("--sets", nargs="+", choices=[*SETS, "harbour"], default=[*SETS, "harbour"], help="the others stay as they are in --out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "experiments" / "results" / "style.json")
    options = parser.parse_args()
    known = read_json(options.out) if options.out.exists() and len(options.sets) <= len(SETS) else {"sets": {}, "provenance": {}}
    found: dict[str, Any] = known["sets"]
    for name in (name for name in SETS if name in options.sets):
        found[name] = measure(options.data / name / "reviews.parquet", options.seed)
        for space in ("style", "tfidf", "characters"):
            print(name, space, {m: e["value"] for m, e in found[name]["halves"][space].items()}, found[name]["line_up"][space]["value"], flush=True)
    if "harbour" in options.sets:
        found["harbour"] = harbour(options.seed)
    earlier = known["provenance"]
    now = {
        **made_by(options.seed),
        "users": f"{MIN_REVIEWS} or more reviews (harbour: 2); features are learned from the other half of the users",
        "interval": "95 % bootstrap over users, 1000 draws",
    }
    facts = {name: now if name in options.sets else earlier[name] for name in found}
    write_json(options.out, {"provenance": facts, "sets": found})


if __name__ == "__main__":
    main()
