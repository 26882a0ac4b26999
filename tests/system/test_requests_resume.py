"""Kill `grasper write --file` in the middle and start it again: the file equals that of an undisturbed run."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from processes import run_grasper, run_grasper_afresh, start_grasper


def test_a_thousand_requests_killed_three_times_equal_an_undisturbed_file(tmp_path: Path) -> None:
    """`grasper write --file`: SIGKILL at a quarter, half and three quarters; nothing looks finished before it is, and every byte is the same."""
    import pandas as pd

    assert run_grasper("prepare", "--run", "use", cwd=tmp_path).returncode == 0
    reviews, items = (pd.read_parquet(tmp_path / f"runs/use/prepare/{name}.parquet") for name in ("reviews", "items"))
    people = [*reviews["user_id"].unique()[:600], *(f"new-{number}" for number in range(40))]
    asked = [(people[number % len(people)], items["item_id"].iloc[7 * number % len(items)]) for number in range(1000)]
    pd.DataFrame(asked, columns=["user_id", "item_id"]).to_csv(tmp_path / "requests.csv", index=False)

    def write(out: str) -> list[str]:
        return ["write", "--run", "use", "--method", "copy", "--file", "requests.csv", "--out", out]

    assert run_grasper_afresh(*write("undisturbed.csv"), cwd=tmp_path).returncode == 0
    part, kept = tmp_path / ".disturbed.csv.part", [0]
    for goal in (250, 500, 750):
        process = start_grasper(*write("disturbed.csv"), cwd=tmp_path)
        while process.is_alive() and (not part.exists() or part.read_bytes().count(b'"answer"') < goal):
            time.sleep(0.001)
        process.kill()
        process.join(30)
        assert process.exitcode == -signal.SIGKILL, "it was finished before it could be killed"
        assert not (tmp_path / "disturbed.csv").exists()
        kept.append(part.read_bytes().count(b'"answer"'))
    assert kept == sorted(set(kept)), "each go keeps what the one before it wrote, and adds to it"
    assert kept[-1] < 1000
    assert run_grasper(*write("disturbed.csv"), cwd=tmp_path).returncode == 0
    assert not part.exists()
    assert len(pd.read_csv(tmp_path / "undisturbed.csv")) == 1000
    assert (tmp_path / "disturbed.csv").read_bytes() == (tmp_path / "undisturbed.csv").read_bytes()
