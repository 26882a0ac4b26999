from __future__ import annotations

import json
import multiprocessing
import re
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from grasper import runs
from grasper.errors import MissingFileError, RunLockedError, RunMismatchError
from grasper.files import BatchLog, atomic_path, read_json, read_jsonl, read_records, write_text
from grasper.runs import Run, derive_seed, describe_files, fingerprint, read_manifest, run_folder


def test_a_run_may_lie_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the shell leaves `~` as it is, as in `--run=~/x`."""
    monkeypatch.setenv("HOME", "/home/somebody")
    assert run_folder("~/x") == Path("/home/somebody/x")
    assert run_folder("x") == Path("runs/x")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """A reader sees the old content or the new one, never a part."""
    path = tmp_path / "value.txt"
    write_text(path, "old")

    def write_half() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("cut off")

    with pytest.raises(RuntimeError, match="cut off"):
        write_half()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["value.txt"]


def test_batch_log_drops_what_a_kill_cut_off(tmp_path: Path) -> None:
    """Two finished batches, then a third that was killed in the middle of a line: reading goes on with batch 2, and nothing is doubled."""
    path = tmp_path / "outputs.jsonl"
    log = BatchLog(path)
    log.append([{"id": 1}, {"id": 2}])
    log.append([{"id": 3}])
    with path.open("a") as handle:
        handle.write(json.dumps({"id": 4}) + '\n{"id": ')
    resumed = BatchLog(path)
    assert (resumed.num_batches, [record["id"] for record in resumed.records]) == (2, [1, 2, 3])
    resumed.append([{"id": 4}])
    assert [record["id"] for record in BatchLog(path).records] == [1, 2, 3, 4]


def test_an_empty_batch_counts_as_finished(tmp_path: Path) -> None:
    """A batch may yield no record; it is not worked on again."""
    BatchLog(tmp_path / "log.jsonl").append([])
    assert BatchLog(tmp_path / "log.jsonl").num_batches == 1


def test_broken_lines_are_named(tmp_path: Path) -> None:
    """A damaged line in the middle is an error with its number; an unfinished last line is not, and a whole one needs no end."""
    path = tmp_path / "log.jsonl"
    for odd in ("not json", "5"):
        path.write_text(f'{{"id": 1}}\n{odd}\n{{"id": 3}}\n')
        with pytest.raises(RunMismatchError, match="line 2"):
            read_jsonl(path)
    path.write_text('{"id": 1}\n{"id":')
    assert read_jsonl(path) == [{"id": 1}]
    path.write_text('{"id": 1}\n{"id": 2}')
    assert read_jsonl(path) == [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize("damage", [lambda content: content.replace(b"two", b"tow"), lambda content: content.replace(b'{"id": "two"}', b"\xff")])
def test_a_damaged_batch_is_dropped_and_named_ones_behind_it_stay(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """Checksums tell; work that follows a fixed plan goes on before the damage, work that is named loses the damaged batch alone."""
    for is_named, kept in ((True, ["one", "three"]), (False, ["one"])):
        path = tmp_path / f"{is_named}.jsonl"
        log = BatchLog(path)
        for name in ("one", "two", "three"):
            log.append([{"id": name}], done=[name] if is_named else None)
        assert [record["id"] for record in read_records(path, "generate")] == ["one", "two", "three"]
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(RunMismatchError, match="is damaged before line 4"):
            read_records(path, "generate")
        log = BatchLog(path)
        assert [record["id"] for record in log.records] == kept
        assert log.done == (set(kept) if is_named else set())
        assert [record["id"] for record in BatchLog(path).records] == kept


def test_a_finished_folder_knows_its_files(tmp_path: Path) -> None:
    """A missing, shorter or altered file is found; checkpoints of a training are no part of what counts."""
    run, folder = Run(tmp_path), tmp_path / "align/x"
    (folder / "checkpoints").mkdir(parents=True)
    for name in ("adapter.bin", "checkpoints/state"):
        (folder / name).write_text("weights")
    run.finish(folder, key={}, seed=0, counts={}, seconds=0.0)
    (folder / "checkpoints/state").unlink()
    assert run.require(folder)["files"].keys() == {"adapter.bin"}
    for content in ("weight", "wEights"):
        (folder / "adapter.bin").write_text(content)
        with pytest.raises(RunMismatchError, match=r"adapter\.bin is damaged.*grasper align"):
            run.require(folder)
    (folder / "adapter.bin").unlink()
    with pytest.raises(RunMismatchError, match=r"adapter\.bin is missing"):
        run.require(folder)


def test_what_a_killed_process_left_is_no_part_of_a_folder(tmp_path: Path) -> None:
    """Half-written files, folders of work under way and checkpoints of the stage; what the folders above are called does not matter."""
    folder = tmp_path / "checkpoints" / "run" / "prepare"
    for name in ("whole.json", ".half.json.tmp", ".prepare-ab.tmp/staged.parquet", "checkpoints/step-1/state.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    assert list(describe_files(folder)) == ["whole.json"]


def test_manifest_marks_completeness(tmp_path: Path) -> None:
    """A folder without a manifest is not complete, whatever else is in it."""
    run = Run(tmp_path / "run")
    folder = run.folder("generate", "copy")
    folder.mkdir(parents=True)
    (folder / "outputs.jsonl").write_text("{}\n")
    with pytest.raises(MissingFileError, match=f"run `grasper generate --run {run.root} --methods copy` first"):
        run.require(folder)
    with pytest.raises(MissingFileError, match=r"predict is not complete; run `grasper predict --run \./shop` first"):
        Run(Path("shop")).require(Path("shop/predict"))
    (run.root / "config.yaml").touch()
    with pytest.raises(MissingFileError, match=r"or is another run of .* meant: run\?"):
        Run(tmp_path / "rum").require(tmp_path / "rum" / "prepare")
    run.finish(folder, key={"seed": 0}, seed=0, counts={"n": 1}, seconds=1.0)
    assert run.require(folder)["fingerprint"] == fingerprint({"seed": 0})
    assert run.require(folder)["stage"] == "generate/copy"


def _hold(root: str, is_held: object, may_end: object) -> None:
    with Run(Path(root)).lock():
        is_held.set()  # type: ignore[attr-defined]
        may_end.wait()  # type: ignore[attr-defined]


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    """While one process holds the run, another gets an error; afterwards it gets the run."""
    context = multiprocessing.get_context("fork")
    is_held, may_end = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(str(tmp_path), is_held, may_end))
    holder.start()
    assert is_held.wait(10)
    with pytest.raises(RunLockedError, match=str(holder.pid)), Run(tmp_path).lock():
        pass
    may_end.set()
    holder.join(10)
    with Run(tmp_path).lock():
        assert holder.exitcode == 0


def test_seeds_of_different_work_differ() -> None:
    """Names separate the streams, and the same names give the same seed on every machine."""
    seeds = [derive_seed(0, "grasper", "generate", batch) for batch in range(100)]
    assert len(set(seeds)) == 100
    assert seeds[0] == 877894773
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize("content", ["{", "[" * 9999, "9" * 5000, '"\xff'])
def test_reading_a_damaged_manifest_says_what_to_do(content: str, tmp_path: Path) -> None:
    """Broken, deeply nested and absurd JSON names the file and the way out."""
    path = tmp_path / "manifest.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(RunMismatchError, match=r"manifest\.json is not valid JSON.*--overwrite"):
        read_json(path)


def test_a_changed_manifest_is_noticed(tmp_path: Path) -> None:
    """Valid JSON that is not what was written, by one digit; one without a seal, from before there were any, is taken."""
    folder = tmp_path / "predict"
    folder.mkdir()
    Run(tmp_path).finish(folder, key={"seed": 0, "names": ("a", "b")}, seed=0, counts={"n": 17}, seconds=1.0)
    path = folder / "manifest.json"
    assert read_manifest(folder) is not None
    whole = path.read_text()
    path.write_text(whole.replace('"n": 17', '"n": 16'))
    with pytest.raises(RunMismatchError, match="is not what was written; redo the stage with --overwrite"):
        read_manifest(folder)
    path.write_text(re.sub(r',\s*"seal": "\w+"', "", whole))
    assert read_manifest(folder) is not None


def test_what_was_made_from_another_folder_is_told(tmp_path: Path) -> None:
    """Prepared anew under the same ids, the old texts would stand for other people's requests."""
    run = Run(tmp_path)
    for folder, key in ((run.folder("prepare"), {"data": 1}), (run.folder("generate", "lamp"), {"inputs": {"prepare": fingerprint({"data": 1})}})):
        folder.mkdir(parents=True)
        run.finish(folder, key=key, seed=0, counts={}, seconds=1.0)
    run.require_current(run.folder("generate", "lamp"))
    manifest = run.folder("prepare") / "manifest.json"
    manifest.rename(run.folder("prepare") / "started.json")  # more is being written to it
    run.require_current(run.folder("generate", "lamp"))
    (run.folder("prepare") / "started.json").unlink()
    with pytest.raises(RunMismatchError, match="made from another prepare"):
        run.require_current(run.folder("generate", "lamp"))
    run.finish(run.folder("prepare"), key={"data": 2}, seed=0, counts={}, seconds=1.0)
    with pytest.raises(RunMismatchError, match="made from another prepare than the one that is there now"):
        run.require_current(run.folder("generate", "lamp"))


def test_the_commit_is_grasper_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed into a project of the user's own, it does not take that one's commits for its own."""
    project = tmp_path / "project"
    package = project / ".venv" / "grasper"
    package.mkdir(parents=True)
    (project / ".gitignore").write_text(".venv\n")
    (package / "runs.py").write_text("")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "Begin"]):
        subprocess.run([*git, *command], cwd=project, check=True, capture_output=True)
    monkeypatch.setattr(runs, "__file__", str(package / "runs.py"))
    assert runs.commit.__wrapped__() is None


def test_the_commit_is_that_of_the_code_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process goes on with what it loaded, while the working copy moves on."""
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x"]
    (tmp_path / "runs.py").write_text("")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "Begin"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "runs.py"))
    monkeypatch.setattr(runs, "commit", cache(runs.commit.__wrapped__))
    first = runs.commit()
    assert first
    subprocess.run([*git, "commit", "-qm", "Go on", "--allow-empty"], cwd=tmp_path, check=True, capture_output=True)
    assert runs.commit() == first != runs.commit.__wrapped__()
