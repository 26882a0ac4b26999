from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import run_grasper, run_grasper_afresh

from grasper.errors import explain_system_error

ROOT = Path(__file__).parents[1]


BAD_INPUT = {
    "unknown key": (["pipeline", "--set", "predict.topk=3"], "unknown key 'predict.topk'"),
    "unknown method": (["pipeline", "--methods", "grasper,magic"], "magic"),
    "unknown encoder": (["predict", "--set", "predict.encoder=magic"], "unknown encoder 'magic'; known: hybrid"),
    "encoder of a plug-in that is not given": (["doctor", "--set", "predict.encoder=mine"], "those of a file of your own need --plugin FILE"),
    "unknown encoder of no run": (["doctor", "--set", "predict.encoder=magic"], "unknown encoder 'magic'; known: hybrid"),
    "missing configuration": (["pipeline", "-c", "absent.yaml"], "absent.yaml does not exist"),
    "missing data": (["pipeline", "--set", "prepare.source=pgraphrag", "--data", "absent"], "absent"),
    "missing column": (["prepare", "--set", "prepare.source=table", "--data", "table.csv", "--set", "prepare.split=users"], "text"),
    "empty file": (["prepare", "--set", "prepare.source=table", "--data", "empty.csv", "--set", "prepare.split=users"], "empty"),
    "binary file": (["prepare", "--set", "prepare.source=table", "--data", "binary.csv", "--set", "prepare.split=users"], "binary.csv"),
    "broken JSON": (["prepare", "--set", "prepare.source=table", "--data", "broken.jsonl", "--set", "prepare.split=users"], "line 2"),
    "unknown run": (["show", "someone", "--run", "absent"], "absent"),
    "stage before its inputs": (["generate", "--methods", "copy"], "not complete"),
    "unknown option": (["pipeline", "--speed", "11"], "--speed"),
    "plugin behind the command": (["pipeline", "--plugin", "ours.py"], "--plugin stands before the command"),
    "a drawing in another format": (["show", "someone", "--plot", "mira.png"], "expected a name that ends in .svg"),
    "a database in place of a table": (["init", "shop.db"], "a SQLite database is read with prepare.source=sql and prepare.query"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_gives_one_clear_line_and_leaves_nothing(arguments: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("user_id,item_id,rating\na,b,3\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "shop.db").write_text("")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "broken.jsonl").write_text('{"user_id": "a", "item_id": "b", "text": "fine"}\n{"user_id": "a", "item_id"\n')
    assert_refused(run_grasper(*arguments, cwd=tmp_path, timeout=120), message, tmp_path)


def test_a_model_that_is_not_there_is_told_while_offline(tmp_path: Path) -> None:
    """In a process that imports everything anew, for the Hub's library looks at the variable then only."""
    result = run_grasper_afresh("doctor", "--set", "model.name=nobody/no-such-model", cwd=tmp_path, HF_HUB_OFFLINE="1")
    assert_refused(result, "some checks failed", tmp_path)


def assert_refused(result: subprocess.CompletedProcess[str], message: str, folder: Path) -> None:
    """Exit code 2, one line that names the problem, no traceback, and no run folder that looks finished."""
    assert result.returncode == 2, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(folder.glob("runs/**/manifest.json"))


@pytest.mark.parametrize("arguments", [(), ("data",)])
def test_a_group_alone_prints_its_help_and_nothing_else(arguments: tuple[str, ...], tmp_path: Path) -> None:
    result = run_grasper(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert "Usage: grasper" in result.stdout + result.stderr
    assert "error" not in result.stderr


def test_a_damaged_run_does_not_hide_the_others(tmp_path: Path) -> None:
    for name, content in (("broken", "{"), ("whole", None)):
        (folder := tmp_path / "runs" / name / "prepare").mkdir(parents=True)
        (folder.parent / "config.yaml").touch()
        if content is not None:
            (folder / "manifest.json").write_text(content)
    result = run_grasper("runs", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == ["broken", "whole"]
    assert "not valid JSON" in result.stdout


def test_a_model_is_not_ready_from_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert_refused(run_grasper("models", "get", "nano", "--from", "nosuch", cwd=tmp_path), "nosuch does not exist; --from is registry", tmp_path)


def test_names_that_are_no_utf_8_are_one_line(tmp_path: Path) -> None:
    """Also where no setting holds them."""
    assert_refused(run_grasper("pipeline", "--methods", "copy", "--data", "\udcff.csv", cwd=tmp_path), "not UTF-8", tmp_path)
    told = explain_system_error(UnicodeEncodeError("utf-8", "runs/\udcff/x", 5, 6, "surrogates not allowed"))
    assert told == "'runs/\\udcff/x' holds bytes that are not UTF-8; give the file or folder another name"


def test_a_file_in_the_place_of_a_folder_is_one_line_and_debug_tells_where(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("no folder")
    assert_refused(run_grasper("prepare", "--run", "x", cwd=tmp_path), "runs", tmp_path)
    assert "Traceback" in run_grasper("prepare", "--run", "x", "--debug", cwd=tmp_path).stderr


def test_ctrl_c_ends_with_130_and_a_resumable_run(tmp_path: Path) -> None:
    """An interrupt in the middle of a stage says how to go on; the same command then finishes."""
    arguments = ["pipeline", "--run", "x", "--methods", "copy", "--set", "limit=null", "--split", "dev"]
    # A shell may hand on an ignored interrupt; a terminal does not.
    process = subprocess.Popen(
        [sys.executable, "-m", "grasper.cli", *arguments],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "runs/x/generate/copy/started.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "resumes" in said
    assert "Traceback" not in said
    assert run_grasper(*arguments, cwd=tmp_path).returncode == 0
    assert (tmp_path / "runs/x/evaluate/report.html").exists()


def test_help_needs_no_heavy_import(tmp_path: Path) -> None:
    """Neither `import grasper` nor `grasper --help` loads torch, transformers or pandas."""
    code = "import sys, grasper, grasper.cli; print([m for m in ('torch', 'transformers', 'pandas', 'sklearn', 'pyarrow') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == "[]", result.stderr
    assert "synthesize" in run_grasper("--help", cwd=tmp_path).stdout


def test_dry_run_shows_the_plan_and_does_nothing(tmp_path: Path) -> None:
    """Every step is named with its state, and no folder appears."""
    result = run_grasper("pipeline", "--dry-run", "--methods", "copy,grasper", "--run", "plan", cwd=tmp_path)
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert names == ["prepare", "predict", "generate/copy", "align/grasper", "synthesize/grasper", "generate/grasper", "evaluate"], result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", [("pipeline", "--dry-run"), ("doctor",)])
def test_a_model_that_must_be_fetched_is_named_before_work_starts(command: tuple[str, ...], tmp_path: Path) -> None:
    result = run_grasper(*command, "--set", "model.name=smollm2-reviews", cwd=tmp_path, GRASPER_CACHE=str(tmp_path / "cache"))
    told = result.stdout + result.stderr
    assert "smollm2, the base of smollm2-reviews, is not on this machine yet; run `grasper models get smollm2`" in " ".join(told.split())
    assert "Traceback" not in told
    assert command == ("doctor",) or result.returncode == 2


def test_models_are_listed_with_what_is_to_be_done_and_how_fast_they_were(tmp_path: Path) -> None:
    """Speeds are those that were measured here; a damaged memory of them is as good as none."""
    cache = tmp_path / "cache"
    listed = run_grasper("models", cwd=tmp_path, GRASPER_CACHE=str(cache), COLUMNS="200")
    assert listed.returncode == 0, listed.stderr
    assert "writes/s" not in listed.stdout
    lines = {line.split()[1]: line for line in listed.stdout.splitlines() if line.startswith("│") and len(line.split()) > 1}
    assert "ready" in lines["nano"]
    assert "grasper models get smollm2" in lines["smollm2"]
    cache.mkdir()
    speeds = {"nano": {"reading": 12345.0, "writing": 678.0}}
    (cache / "speeds.json").write_text(json.dumps({"cores": os.cpu_count(), "speeds": speeds}))
    assert "12345" in run_grasper("models", cwd=tmp_path, GRASPER_CACHE=str(cache), COLUMNS="200").stdout
    (cache / "speeds.json").write_text('{"cores": ')
    assert run_grasper("models", cwd=tmp_path, GRASPER_CACHE=str(cache)).returncode == 0


def test_a_step_under_way_is_running_and_not_cut_off(tmp_path: Path) -> None:
    """What tells is the run's lock: held by a living process, or left behind by one that was killed."""
    from grasper.runs import Run

    arguments = ("pipeline", "--dry-run", "--methods", "copy", "--run", "x")
    assert run_grasper("pipeline", "--methods", "copy", "--run", "x", "--limit", "1", cwd=tmp_path).returncode == 0
    folder = tmp_path / "runs/x/evaluate"
    (folder / "started.json").write_text((folder / "manifest.json").read_text())
    (folder / "manifest.json").unlink()

    def states() -> dict[str, str]:
        lines = run_grasper(*arguments, "--limit", "1", cwd=tmp_path).stdout.splitlines()
        return {line[:32].strip(): line[33:41].strip() for line in lines}

    assert states() == {"prepare": "done", "generate/copy": "done", "evaluate": "cut off"}
    with Run(tmp_path / "runs/x").lock():
        assert states() == {"prepare": "done", "generate/copy": "done", "evaluate": "running"}
    assert states()["evaluate"] == "cut off"


def test_help_names_methods_and_tasks(tmp_path: Path) -> None:
    from grasper.methods import BUILT_IN
    from grasper.records import TASKS

    text = " ".join(run_grasper("pipeline", "--help", cwd=tmp_path).stdout.replace("│", " ").split()).replace("- ", "-")
    for name in (*(method.name for method in BUILT_IN), *TASKS):
        assert name in text, name


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device", "runs/x/a.json"), "runs/x/a.json: no space left on the disk; make room, the same command resumes"),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "no space left on the disk; make room"),
        (PermissionError(13, "Permission denied", "runs/x"), "runs/x: permission denied; --debug tells where"),
        (ValueError("a defect"), ""),
        (OSError("a library's own"), ""),
    ],
)
def test_what_the_system_refused_is_one_line(error: Exception, told: str) -> None:
    """A full disk is told as such whoever found it; anything else that is not the system's stays an error with a traceback."""
    assert explain_system_error(error).startswith(told)
    assert bool(explain_system_error(error)) == bool(told)


def test_a_full_disk_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    """The limit to a file's size stands for the disk; with room the same command goes on."""
    command = [sys.executable, "-m", "grasper.cli", "prepare", "-c", str(ROOT / "experiments" / "harbour.yaml")]
    full = subprocess.run(["bash", "-c", 'ulimit -f 8; exec "$@"', "-", *command], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert full.returncode == 2, full.stderr
    assert len(full.stderr.splitlines()) == 1, full.stderr
    assert "make room, the same command resumes" in full.stderr
    assert run_grasper(*command[3:], cwd=tmp_path).returncode == 0
