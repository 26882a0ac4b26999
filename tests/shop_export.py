"""A messy export as shops send them: cp1252, semicolons, decimal commas and words as ratings, five date formats, HTML, duplicates, missing ids."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

HEADER = ("Kundennr", "Artikelnummer", "Produktname", "Bewertung", "Titel", "Kommentar", "Datum")
DATES = ("{d:02d}.{m:02d}.{y}", "{y}-{m:02d}-{d:02d}", "{d:02d}/{m:02d}/{y} 10:30", "{y}/{m:02d}/{d:02d}", "")
TEXTS = (
    "Sehr schöne Tasse, hält warm",
    "Der Löffel ist <b>größer</b> als gedacht",
    "Gut &amp; günstig",
    'Ging; "leider" kaputt',
    "Für 5 € in Ordnung\nund schnell da",
)


def write_shop(path: Path, num_users: int = 120, seed: int = 0) -> Path:
    """About 1.5 reviews per customer, two customers of three with one; every fifth date is missing, three ids and two texts, too."""
    draw = random.Random(seed)
    rows = []
    for user in range(num_users):
        for _ in range(1 if user % 3 else draw.randint(2, 4)):
            item = draw.randint(1, 25)
            stars = draw.choice(("1,0", "2,0", "3,5", "4,0", "5 Sterne", "4 stars", "5/5", ""))
            date = draw.choice(DATES).format(d=draw.randint(13, 28), m=draw.randint(1, 12), y=draw.randint(2019, 2024))
            rows.append(
                [f"K{user:04d}", f"{item:05d}", f"Küchenhelfer {item}", stars, "Schön", f"{draw.choice(TEXTS)} ({draw.randint(0, 999)})", date]
            )
    rows[3][0] = rows[7][0] = rows[9][1] = ""
    rows[11][5] = rows[13][5] = ""
    rows += [list(rows[20]), list(rows[21])]
    text = io.StringIO()
    csv.writer(text, delimiter=";").writerows([HEADER, *rows])
    path.write_bytes(text.getvalue().encode("cp1252"))
    return path
