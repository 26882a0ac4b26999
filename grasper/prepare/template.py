"""The configuration that `grasper init` writes: every setting with the reason for it, and what else one may want to change."""

from __future__ import annotations

from typing import Any

import yaml

from grasper.prepare.values import Survey

_REASONS = {
    "name": "of the data set in results, and of the run's folder",
    "encoding": "of the text file",
    "delimiter": "between cells",
    "quoted": "quotes are letters like any other",
    "decimal": "mark in numbers",
    "rating_in_words": "ratings such as '4 stars'",
    "rating_scale": "highest rating; mapped to 5",
    "rating_lowest": "lowest rating; mapped to 1",
    "rating_fractions": "ratings such as 3.5 are rounded",
    "invalid_rating": "keeps reviews whose rating is not on the scale, without it; 'error' refuses them",
    "date_formats": "tried in this order, after ISO 8601",
    "timestamp_unit": "of numeric dates",
    "invalid_timestamp": "keeps reviews whose date cannot be read, without it; 'error' refuses them",
    "strip_html": "takes tags off texts",
    "split": "'users' holds users out, 'last-out' asks for last reviews, 'none' trains on everything for use",
}


def configuration(survey: Survey) -> str:
    """The YAML text, findings as comments at its head."""
    lines = ["# Written by `grasper init`. What was found:", *(f"#   {_one_line(finding)}" for finding in survey.findings), "", "prepare:"]
    for key, value in survey.settings.items():
        if key == "columns":
            lines.append("  columns:  # field: column of the file; null where there is none")
            lines += [f"    {name}: {_scalar(column)}" for name, column in value.items()]
        elif key == "items":
            lines.append("  items:  # a further table, joined by the item's id")
            lines += [f"    {name}: {_scalar(entry)}" for name, entry in value.items() if name != "columns"]
            lines += ["    columns:", *(f"      {name}: {_scalar(column)}" for name, column in value["columns"].items())]
        else:
            reason = f"  # {_REASONS[key]}" if key in _REASONS else ""
            lines.append(f"  {key}: {_scalar(value)}{reason}")
    return "\n".join([*lines, ""])


def _one_line(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _scalar(value: Any) -> str:
    if value == "null":
        return "null"
    return str(yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)).removesuffix("\n...\n").strip()
