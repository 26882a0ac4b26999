"""A messy export is understood: every finding with its count, and the configuration that follows reads it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shop_export import write_shop

from grasper.config import PrepareConfig, load_config
from grasper.errors import DataFormatError
from grasper.prepare import build_tables, check_data, fingerprint_data
from grasper.prepare.guess import guess_columns
from grasper.prepare.survey import survey_further, survey_table
from grasper.prepare.template import configuration


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_shop(tmp_path / "Export März #2.csv")


def test_the_shop_export_is_read_without_a_correction(shop: Path, tmp_path: Path) -> None:
    """All settings are found; texts, dates and ratings come out right."""
    survey = survey_table(shop)
    assert {key: survey.settings[key] for key in ("encoding", "delimiter", "decimal", "rating_in_words", "rating_fractions", "strip_html")} == {
        "encoding": "cp1252",
        "delimiter": ";",
        "decimal": ",",
        "rating_in_words": True,
        "rating_fractions": True,
        "strip_html": True,
    }
    assert set(survey.settings["date_formats"]) == {"%d.%m.%Y", "%d/%m/%Y %H:%M"}
    (tmp_path / "shop.yaml").write_text(configuration(survey), encoding="utf-8")
    config = load_config(tmp_path / "shop.yaml").prepare
    tables, cleaned = build_tables(config, seed=0)
    assert (len(tables.reviews), cleaned["unusable"], cleaned["duplicates"]) == (188, 5, 2)
    assert cleaned["invalid_ratings"] == 0
    assert set(tables.reviews["rating"].dropna()) == {1, 2, 4, 5}
    assert not tables.reviews["text"].str.contains("<b>|&amp;").any()
    assert tables.reviews["text"].str.contains("größer|€").any()
    assert tables.reviews["timestamp"].dropna().between(1_546_300_800, 1_735_689_600).all()  # 2019 to 2024
    assert check_data(config).startswith("Export-März-2: reviews 188, users 117, items 25")


def test_cold_users_stay_in_the_split(shop: Path) -> None:
    """Two customers of three have one review: they are held out too, instead of never being asked for."""
    survey = survey_table(shop)
    assert survey.settings["split"] == "users"
    assert any("66% of them with one review" in finding for finding in survey.findings)


def test_findings_carry_counts_and_examples(shop: Path) -> None:
    told = "\n".join(survey_table(shop).findings)
    for expected in (
        "195 lines are not UTF-8",
        "delimiter: ';'",
        "'Bewertung': 21 ratings are missing",
        "'Datum': 37 reviews have no date",
        "'Kundennr': 2 rows without an id",
        "2 rows are exact duplicates",
        "'Kommentar': HTML in 75 rows",
    ):
        assert expected in told


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([*range(11)] * 3, {"rating_scale": 10, "rating_lowest": 0}),
        ([0, 1, 2, 3, 4, 5] * 3, {"rating_lowest": 0}),
        ([0.5, 1, 3.5, 5] * 5, {"rating_lowest": 0.5}),
        ([0, 0.5, 1, 3.5, 5] * 4, {"rating_lowest": 0}),
        ([0.5, 0.7, 3.5, 5] * 5, {"rating_lowest": 0}),
        ([10, 50, 100] * 6, {"rating_scale": 100}),
        ([1, 2, 5] * 6, {}),
        ([5] * 300 + [77], {"invalid_rating": "null"}),
        ([0, 1, 1] * 6, {"rating_scale": 1, "rating_lowest": 0}),
        ([1] * 6, {}),
    ],
)
def test_scales(tmp_path: Path, values: list[float], expected: dict[str, object]) -> None:
    rows = pd.DataFrame({"user": "u", "item": "i", "review": "fine", "stars": values})
    rows.to_csv(tmp_path / "r.csv", index=False)
    settings = survey_table(tmp_path / "r.csv").settings
    assert {key: settings[key] for key in ("rating_scale", "rating_lowest", "invalid_rating") if key in settings} == expected


def test_dates_in_milliseconds_and_dates_that_cannot_be_read(tmp_path: Path) -> None:
    lines = [{"user": "u", "item": "i", "text": "a", "time": moment} for moment in (1588687728923, 1588687728924, "someday")]
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    survey = survey_table(path)
    assert (survey.settings["timestamp_unit"], survey.settings["invalid_timestamp"]) == ("ms", "null")
    assert any("1 dates cannot be read, for example 'someday'" in finding for finding in survey.findings)


@pytest.mark.parametrize("gap", ["", "2024-06-01"])
def test_dates_that_are_written_like_numbers(tmp_path: Path, gap: str) -> None:
    """20240531 is no second of 1970; beside ISO dates, too."""
    path = tmp_path / "r.csv"
    path.write_text(f"user,item,text,date\nu,i,a,20240531\nv,i,b,20240601\nw,i,c,{gap}\n")
    survey = survey_table(path)
    assert survey.settings["date_formats"] == ["%Y%m%d"]
    assert "timestamp_unit" not in survey.settings
    assert any("2 dates as %Y%m%d, for example 20240531" in finding for finding in survey.findings)


@pytest.mark.parametrize(
    ("dates", "expected", "column"),
    [
        ((1_700_000_000_000_000_000, 1_700_086_400_000_000_000), {"timestamp_unit": "ns"}, "date"),
        ((1_700_000_000_000_000, 1_700_086_400_000_000), {"timestamp_unit": "us"}, "date"),
        ((2015, 2016), {"date_formats": ["%Y"]}, "date"),
        ((2015, 1_700_000_000), {}, "date"),
        ((45000, 45001), {}, None),
    ],
)
def test_numbers_that_are_no_seconds(tmp_path: Path, dates: tuple[int, int], expected: dict[str, object], column: str | None) -> None:
    """Units and years are read; the days of a spreadsheet are told, and left out."""
    path = tmp_path / "r.csv"
    path.write_text("user,item,text,date\n" + "".join(f"u{n % 12},i{n},a{n},{dates[n % 2]}\n" for n in range(30)))
    survey = survey_table(path)
    assert {key: survey.settings[key] for key in ("timestamp_unit", "date_formats") if key in survey.settings} == expected
    assert survey.settings["columns"]["timestamp"] == column
    assert any("45000 look like days of a spreadsheet" in finding for finding in survey.findings) == (column is None)
    (tmp_path / "r.yaml").write_text(configuration(survey), encoding="utf-8")
    assert build_tables(load_config(tmp_path / "r.yaml").prepare, seed=0)[0].reviews["timestamp"].isna().all() == (column is None)


def test_ratings_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user,item,text,rating\nu,i,a,good\nv,i,b,bad\nw,i,c,\n")
    survey = survey_table(tmp_path / "r.csv")
    assert survey.settings["columns"]["rating"] is None
    assert any("'rating': no ratings can be read, for example 'good'" in finding for finding in survey.findings)


def test_dates_that_nobody_can_read_are_left_out(tmp_path: Path) -> None:
    """So the split that is proposed needs none, and the configuration reads the data."""
    path = tmp_path / "r.csv"
    path.write_text("user,item,text,date\n" + "".join(f"u{n // 3},i{n},a{n},day {n} after the storm\n" for n in range(60)))
    survey = survey_table(path)
    assert (survey.settings["columns"]["timestamp"], survey.settings["split"]) == (None, "users")
    assert any("'date': no dates can be read, for example 'day 0 after the storm'" in finding for finding in survey.findings)
    (tmp_path / "r.yaml").write_text(configuration(survey), encoding="utf-8")
    assert check_data(load_config(tmp_path / "r.yaml").prepare) == "r: reviews 60, users 20, items 60"


def test_dates_of_three_numbers_with_the_year_behind_a_comma_are_read(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text('user,item,text,date\nu,i,a,"09 13, 2009"\n')
    assert survey_table(tmp_path / "r.csv").settings["date_formats"] == ["%m %d, %Y"]


@pytest.mark.parametrize(
    "date",
    ["2024-05-31 22:00:00 UTC", "2024-05-31 22:00:00.000 UTC", "Fri, 31 May 2024 22:00:00 GMT", "31/05/2024 22:00:00", "5/31/2024 10:00:00 PM"],
)
def test_dates_as_databases_and_spreadsheets_write_them(tmp_path: Path, date: str) -> None:
    """BigQuery and Rails name the zone, Excel the half of the day."""
    (tmp_path / "r.csv").write_text(f'user,item,text,date\nu,i,a,"{date}"\n')
    (tmp_path / "r.yaml").write_text(configuration(survey_table(tmp_path / "r.csv")), encoding="utf-8")
    assert build_tables(load_config(tmp_path / "r.yaml").prepare, seed=0)[0].reviews["timestamp"].tolist() == [1_717_192_800]


@pytest.mark.parametrize("half", ["AM", "PM"])
def test_days_and_months_that_may_be_swapped_are_told_with_halves_of_the_day(tmp_path: Path, half: str) -> None:
    (tmp_path / "r.csv").write_text(f"user,item,text,date\nu,i,a,05/06/2024 10:00 {half}\n")
    assert any("reads as many: check which is meant" in finding for finding in survey_table(tmp_path / "r.csv").findings)


@pytest.mark.parametrize(("count", "split"), [(3, "none"), (9, "none"), (60, "users")])
def test_where_nobody_can_be_held_out_all_train(tmp_path: Path, count: int, split: str) -> None:
    """The configuration that is proposed reads the data; the other split says the way out."""
    path = tmp_path / "r.csv"
    path.write_text("user,item,text\n" + "".join(f"u{n // 3},i{n},a{n}\n" for n in range(count)))
    survey = survey_table(path)
    assert survey.settings["split"] == split
    (tmp_path / "r.yaml").write_text(configuration(survey), encoding="utf-8")
    config = load_config(tmp_path / "r.yaml").prepare
    assert check_data(config).startswith(f"r: reviews {count}")
    if split == "none":
        with pytest.raises(DataFormatError, match=r"prepare\.split=none trains on all reviews"):
            check_data(config.model_copy(update={"split": "users"}))


def test_a_check_says_what_became_of_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("user_id,item_id,text\n" + "".join(f"big,i{n},a{n}\n" for n in range(90)) + "u,i,\n")
    settings = ["prepare.source=table", f"prepare.data={path}", "prepare.split=none", "prepare.name=r"]
    config = load_config(None, [*settings, *(f"prepare.columns.{name}=null" for name in ("title", "rating", "timestamp"))]).prepare
    assert check_data(config) == "r: reviews 50, users 1, items 50; cleaned: unusable 1, beyond prepare.pooled_user_limit 40"


def test_columns_without_a_name_or_with_one_twice_stop_nothing(tmp_path: Path) -> None:
    """Excel writes blank cells behind a header; a name that stands twice is said, and read from neither column."""
    path = tmp_path / "r.csv"
    path.write_text("user,item,text,note,note,,\nu,i,fine,x,y,,\n")
    survey = survey_table(path)
    assert "3 columns: user, item, text" in "\n".join(survey.findings)
    assert any("more than one column has the name: note" in finding for finding in survey.findings)


def test_json_that_is_no_flat_list_of_reviews_is_called_what_it_is(tmp_path: Path) -> None:
    reviews = [{"user": "u", "item": "i", "text": "fine", "meta": {"a": 1}}]
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"reviews": reviews}))
    with pytest.raises(DataFormatError, match=r"wraps or nests its reviews: 'reviews' \(lists\)"):
        survey_table(path)
    path.write_text(json.dumps({"reviews": reviews}, indent=1))
    with pytest.raises(DataFormatError, match=r"line 1: broken JSON .*; if it goes on in the next line: expected one object per line, or one array"):
        survey_table(path)
    path.write_text(json.dumps([{"by": {"id": name}, "said": {"body": name}, "score": 5} for name in "abc"]))
    assert not any("duplicates" in finding for finding in survey_table(path).findings)  # what tells them apart is not read
    path.write_text(json.dumps(reviews))
    said = "\n".join(survey_table(path).findings)
    assert "not read, since the values are not plain: 'meta' (objects); what is wanted of them needs a column of its own" in said


@pytest.mark.parametrize("mark", ["NA", "NULL", "NaN", "null", "N/A", "n/a"])
def test_cells_that_stand_for_nothing_are_missing(tmp_path: Path, mark: str) -> None:
    """In every column of CSV: no user is called so, and no text says so. In JSON text is text."""
    path = tmp_path / "r.csv"
    header, rows = "user_id,item_id,text,title,rating,timestamp", [f"u,i,{mark},t,5,", f"{mark},i,a,t,5,", f"u,i,a,{mark},{mark},{mark}"]
    path.write_text("\n".join([header, *rows, ""]))
    settings = ["prepare.source=table", f"prepare.data={path}", "prepare.split=none"]
    reviews = build_tables(load_config(None, settings).prepare, seed=0)[0].reviews
    assert reviews["text"].tolist() == ["a"]
    assert reviews[["title", "rating", "timestamp"]].isna().all(axis=None)


def test_the_line_in_which_excel_says_what_separates_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("sep=;\r\nuser;item;text\r\nu;i;fine, really\r\nv;i\r\n")
    with pytest.raises(DataFormatError, match="line 4: 2 cells, expected 3"):
        survey_table(path)
    path.write_text("sep=;\nuser;item;text\nu;i;fine, really\n")
    survey = survey_table(path)
    assert survey.settings["columns"]["text"] == "text"
    assert "delimiter: ';', as the first line says" in survey.findings


@pytest.mark.parametrize("ends", ["", '"'])
def test_a_table_that_quotes_nothing_is_seen(tmp_path: Path, ends: str) -> None:
    """Whether its quotes would break the table, or make one row of several that nobody would miss; a table that quotes its cells stays as it was."""
    path = tmp_path / "r.tsv"
    path.write_text(f'user\titem\ttext\nu\ti\t"so good\nv\ti\tfine\nw\ti\tnot so good{ends}\n')
    survey = survey_table(path)
    assert survey.settings["quoted"] is False
    assert "quotes: letters like any other, no cell is in quotes (line 2 could not be read otherwise)" in survey.findings
    (tmp_path / "r.yaml").write_text(configuration(survey))
    config = load_config(tmp_path / "r.yaml", ["prepare.split=none"]).prepare
    assert build_tables(config, seed=0)[0].reviews["text"].tolist() == ['"so good', "fine", f"not so good{ends}"]
    path.write_text('user\titem\ttext\nu\ti\t"so\ngood"\nv\ti\t"a ""fine"" one"\n')
    assert "quoted" not in survey_table(path).settings


def test_a_table_of_nothing_but_its_separator_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("sep=;\n")
    with pytest.raises(DataFormatError, match="no column that can be read"):
        survey_table(path)
    with pytest.raises(DataFormatError, match="has no column 'user_id' for user_id"):
        check_data(load_config(None, ["prepare.source=table", f"prepare.data={path}", "prepare.split=none"]).prepare)


def test_excel_files_are_looked_at_as_they_are_read(tmp_path: Path) -> None:
    """A column without a name, as pandas writes its index, is not read; a file that is none is one line."""
    path = tmp_path / "r.xlsx"
    pd.DataFrame({"user": ["u"], "item": ["i"], "text": ["fine"]}).to_excel(path)
    assert {name: survey_table(path).settings["columns"][name] for name in ("user_id", "item_id", "text")} == {
        "user_id": "user",
        "item_id": "item",
        "text": "text",
    }
    path.write_text("no Excel file")
    with pytest.raises(DataFormatError, match="not a readable Excel file"):
        survey_table(path)


def test_an_ambiguous_date_is_told(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user,item,text,date\nu,i,a,01/02/2020\n")
    assert any("%m/%d/%Y reads as many: check which is meant" in finding for finding in survey_table(tmp_path / "r.csv").findings)


def test_columns_by_name_and_by_content() -> None:
    named = pd.DataFrame(
        columns=["review_id", "customer_id", "product_id", "product_title", "star_rating", "review_headline", "review_body", "review_date"]
    )
    assert guess_columns(named) == {
        "user_id": "customer_id",
        "item_id": "product_id",
        "text": "review_body",
        "title": "review_headline",
        "rating": "star_rating",
        "timestamp": "review_date",
        "name": "product_title",
        "category": None,
        "brand": None,
    }
    unnamed = pd.DataFrame(
        {
            "a": [f"p{n % 9}" for n in range(40)],
            "b": [f"q{n % 7}" for n in range(40)],
            "c": ["a long enough text about a thing, " + str(n) for n in range(40)],
        }
    )
    chosen = guess_columns(unnamed)
    assert (chosen["user_id"], chosen["item_id"], chosen["text"]) == ("a", "b", "c")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            "customer sku comment headline created_at product",
            {"user_id": "customer", "item_id": "sku", "text": "comment", "title": "headline", "timestamp": "created_at", "name": "product"},
        ),
        (
            "review_id customer_id product_id review_score review_comment_title review_comment_message review_creation_date",
            {"user_id": "customer_id", "text": "review_comment_message", "title": "review_comment_title", "rating": "review_score"},
        ),
        (
            "product_id product_name category user_id user_name review_id review_title review_content rating",
            {"user_id": "user_id", "item_id": "product_id", "text": "review_content", "title": "review_title", "name": "product_name"},
        ),
        (
            "rotten_tomatoes_link critic_name top_critic review_type review_score review_date review_content",
            {"user_id": "critic_name", "item_id": "rotten_tomatoes_link", "text": "review_content", "rating": "review_score", "name": None},
        ),
        (
            "customer customer_id product product_id comment",
            {"user_id": "customer_id", "item_id": "product_id", "text": "comment", "name": "product"},
        ),
    ],
)
def test_ids_come_before_names_for_show_and_texts_are_no_ids(columns: str, expected: dict[str, str | None]) -> None:
    """The documented shop, and the headers of three public tables; the cells are as long as such cells are."""
    lengths = {"content": 80, "message": 80, "comment": 80, "review_title": 40, "review_comment_title": 40, "review_id": 40}
    sizes = {name: lengths.get(name, lengths.get(name.rsplit("_")[-1], 4)) for name in columns.split()}
    rows = pd.DataFrame({name: [f"{number % 9}".rjust(size, "x") for number in range(40)] for name, size in sizes.items()})
    rows = rows.assign(**{name: "yes" for name in ("top_critic", "review_type") if name in rows})
    chosen = guess_columns(rows)
    assert {name: chosen[name] for name in expected} == expected


PUBLIC = {
    "asin": "B0",
    "reviewerID": "A1",
    "reviewerName": "Jane",
    "reviewText": "A rather long text that somebody wrote about a thing",
    "overall": "5",
    "unixReviewTime": "1252800000",
    "reviewTime": "09 13, 2009",
}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (PUBLIC, {"user_id": "reviewerID", "item_id": "asin", "timestamp": "unixReviewTime", "name": None}),
        ({"ProductId": "B0", "UserId": "A1", "ProfileName": "Jane"}, {"user_id": "UserId", "item_id": "ProductId", "name": None}),
        ({"sku": "7", "Consumer Name": "Jane"}, {"user_id": "Consumer Name", "item_id": "sku", "name": None}),
        ({"sku": "7", "reviewCreatedVersion": "5.31.0", "created_by": "17", "at": "2020-01-02 03:04:05"}, {"timestamp": "at"}),
        ({"sku": "7", "day_created": "May 3, 2020", "at": "2020-01-02"}, {"timestamp": "day_created"}),
        ({"sku": "7", "Brand Name": "Acme", "Group Name": "Pans"}, {"name": None, "brand": "Brand Name", "category": "Group Name"}),
    ],
)
def test_nobodys_name_is_an_items_and_what_cannot_be_a_date_is_none(row: dict[str, str], expected: dict[str, str | None]) -> None:
    chosen = guess_columns(pd.DataFrame([row] * 20))
    assert {name: chosen[name] for name in expected} == expected


def test_of_several_columns_that_may_be_meant_the_choice_is_told(tmp_path: Path) -> None:
    """Where one word of several decides; one that is called just so leaves no doubt."""
    text = "a rather long text that somebody wrote about a thing"
    (tmp_path / "r.csv").write_text(f"user_id,sku,comment,Ship Name,Dish Name,Customer Name,rating\nu,7,{text},Ada,Pie,Bo,5\n")
    survey = survey_table(tmp_path / "r.csv")
    assert survey.settings["columns"]["name"] == "Ship Name"
    assert [finding for finding in survey.findings if "which is meant" in finding] == [
        "'Ship Name' is read as name, Dish Name could be, too: check which is meant"
    ]
    (tmp_path / "i.csv").write_text("sku,Dish Name,Cook Name\n7,Pie,Ida\n")
    survey_further(tmp_path / "i.csv", survey)
    assert "i.csv: 'Dish Name' is read as name, Cook Name could be, too: check which is meant" in survey.findings


def test_of_columns_that_no_name_tells_the_one_that_is_called_an_id_comes_first() -> None:
    rows = pd.DataFrame(
        {"city": [f"c{n % 9}" for n in range(40)], "movie_id": [f"m{n % 7}" for n in range(40)], "user_id": [f"u{n}" for n in range(40)]}
    )
    assert guess_columns(rows)["item_id"] == "movie_id"


def test_a_column_of_short_cells_is_no_text_because_one_of_its_words_is_review() -> None:
    rows = pd.DataFrame(
        {"who": ["a", "b"], "what": ["x", "y"], "review_language": ["en", "de"], "wrote": ["a long enough text about a thing, at last"] * 2}
    )
    assert guess_columns(rows)["text"] == "wrote"


def test_mixed_encodings_are_told(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes("user,item,text\nu,i,schön\n".encode() + "u,i,größer\n".encode("cp1252"))
    assert any("the file mixes encodings" in finding for finding in survey_table(tmp_path / "r.csv").findings)


def test_all_refusals_of_a_check_come_together(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user_id,item_id,text,title,rating,timestamp\nu,i,a,t,9,2020-01-01\nu,i,b,t,5,someday\n")
    config = load_config(None, ["prepare.source=table", f"prepare.data={tmp_path / 'r.csv'}", "prepare.split=none"]).prepare
    with pytest.raises(DataFormatError, match=r"line 2: 'rating' is 9.*; .*line 3: 'timestamp' is someday"):
        check_data(config)


def test_people_and_repeats_are_counted_as_prepare_counts_them(tmp_path: Path) -> None:
    """A blank is nobody, white space makes no other user, and a repeat may have another date."""
    path = tmp_path / "r.csv"
    rows = [
        "a,i,fine thing,5,2020-01-01",
        " a ,i,fine thing,5,2020-01-02",
        "b,i,good thing,4,2020-01-01",
        ",i,bad thing,1,2020-01-01",
        " ,i,odd thing,1,",
    ]
    path.write_text("user_id,item_id,text,rating,timestamp\n" + "".join(f"{row}\n" for row in [*rows, rows[2].replace("2020", "2021")]))
    said = "\n".join(survey_table(path).findings)
    assert "2 users, 0% of them with one review" in said
    assert "2 rows are exact duplicates" in said
    assert "2 rows without an id" in said


def test_a_table_of_items_is_found_by_the_ids_that_both_share(shop: Path, tmp_path: Path) -> None:
    """Names, categories and brands come from a file with another encoding and delimiter, whose id column has another name."""
    rows = [
        "Nr,EAN,Titel,Warengruppe,Marke",
        *(f"{n:05d},{4_000_000 + n},Löffel {n},Küche,{'Müller' if n % 2 else ''}" for n in range(1, 23)),
        "99999,1,x,,",
    ]
    (tmp_path / "Artikel.csv").write_text("\n".join([*rows, rows[1].replace("Löffel", "Gabel")]) + "\n", encoding="utf-8")
    survey = survey_table(shop)
    survey_further(tmp_path / "Artikel.csv", survey)
    assert survey.settings["items"]["columns"] == {"item_id": "Nr", "name": "Titel", "category": "Warengruppe", "brand": "Marke"}
    assert "Artikel.csv: 24 rows about items, by 'Nr': 22 of the 25 items with reviews are among them" in survey.findings
    assert "Artikel.csv: 1 rows have an id that stood before; of each field the first value counts" in survey.findings
    (tmp_path / "shop.yaml").write_text(configuration(survey), encoding="utf-8")
    config = load_config(tmp_path / "shop.yaml").prepare
    items = build_tables(config, seed=0)[0].items.set_index("item_id")
    assert items.loc["00001", ["name", "category", "brand"]].tolist() == ["Küchenhelfer 1", "Küche", "Müller"]  # the reviews' own name comes first
    assert "99999" not in items.index
    assert fingerprint_data(config) != fingerprint_data(config.model_copy(update={"items": None}))


def test_a_further_file_with_the_same_columns_trains_and_another_is_refused(shop: Path, tmp_path: Path) -> None:
    survey = survey_table(shop)
    (tmp_path / "older.csv").write_bytes(shop.read_bytes())
    survey_further(tmp_path / "older.csv", survey)
    assert survey.settings["train"] == [str(tmp_path / "older.csv")]
    (tmp_path / "prices.csv").write_text("country,price\nde,3\n", encoding="utf-8")
    with pytest.raises(
        DataFormatError, match=r"neither the columns of Export .* nor one with the ids of its items \(00001, .*it has: country, price"
    ):
        survey_further(tmp_path / "prices.csv", survey)


def test_settings_without_a_table_of_items_are_saved_as_ever(tmp_path: Path) -> None:
    assert "items" not in PrepareConfig().model_dump(mode="json")


def test_a_column_of_dates_is_known_by_what_is_in_it_and_what_is_not_read_is_told(tmp_path: Path) -> None:
    """Neither a version number nor a price is a date."""
    rows = [f"k{n},a{n % 9},1.2.{n},{n}.50,3.4.20{n % 10}{n % 7} 10:30,Ein ganz gewöhnlicher Text von jemandem" for n in range(40)]
    (tmp_path / "r.csv").write_text(
        "\n".join(["Kunde,Artikel,Fassung,Preis,wann war das,Text", *rows, "k1,a1,x,1,,noch einer"]) + "\n", encoding="utf-8"
    )
    survey = survey_table(tmp_path / "r.csv")
    assert survey.settings["columns"]["timestamp"] == "wann war das"
    assert "not read: Fassung, Preis" in survey.findings
    assert survey.settings["date_formats"] == ["%d.%m.%Y %H:%M"]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_json_list_in_one_line_is_looked_at_element_by_element(tmp_path: Path, mark: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """With or without a byte order mark, and where the line is longer than any line may be: as `prepare` reads it. The end of what is looked at may
    fall into a letter."""
    rows = [{"user_id": f"u{n}", "item_id": "inn", "text": f"schön war es am {n}. Tag", "rating": n % 5 + 1} for n in range(30)]
    path = tmp_path / "reviews.json"
    path.write_bytes(mark + json.dumps(rows, ensure_ascii=False).encode())
    places = [place for place, byte in enumerate(path.read_bytes()) if byte == 0xC3]
    monkeypatch.setattr("grasper.prepare.survey.MAX_BYTES", places[20] + 1)
    survey = survey_table(path)
    assert survey.settings["columns"]["text"] == "text"
    assert not survey.missing
    assert "encoding" not in survey.settings
    assert any(finding.startswith("30 rows, 4 columns") for finding in survey.findings)


@pytest.mark.parametrize("name", ["reviews.csv.gz", "reviews.jsonl.gz"])
def test_a_file_that_was_cut_off_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    lines = "".join(f"u{n},inn,a fine place number {n},{n % 5 + 1}\n" for n in range(4000))
    packed = gzip.compress(f"user_id,item_id,text,rating\n{lines}".encode() if ".csv" in name else b'{"user_id": "u", "text": "fine"}\n' * 4000)
    (tmp_path / name).write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataFormatError, match="truncated gzip file"):
        survey_table(tmp_path / name)


def test_columns_of_parquet_that_are_not_plain_are_left_out_and_told(tmp_path: Path) -> None:
    """Polars writes bytes as `large_binary`."""
    columns = {"user_id": ["u"], "sku": ["7"], "comment": ["fine"], "picture": pa.array([b"x"], pa.large_binary()), "tags": [["a"]]}
    pq.write_table(pa.table(columns), tmp_path / "r.parquet")
    survey = survey_table(tmp_path / "r.parquet")
    assert "not read, since the values are not plain: 'picture' (large_binary), 'tags' (list<element: string>)" in "\n".join(survey.findings)
    assert survey.missing == []
