"""A disk that gets full at every step: one line, exit code 2, and with room again the run goes on and equals an undisturbed one."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from faults.world import STEPS, Outcome, Place, difference, pipeline, run_of, without_later

SIZE_MIB = 24


def trials(place: Place, numbers: Iterable[int]) -> Iterator[Outcome]:
    """Each case begins one step with room for a part of what is still to be written: on a small file system, else by a limit to every file."""
    disk = place.fresh("disk")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(disk)]
    is_mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        for number in numbers:
            yield _case(place, number, disk, is_mounted)
    finally:
        if is_mounted:
            subprocess.run(["umount", disk], check=True)


def _case(place: Place, number: int, disk: Path, is_mounted: bool) -> Outcome:
    chance, (undisturbed, _) = place.random_of("disk", number), place.undisturbed
    step = STEPS[number % len(STEPS)]
    folder = disk / "run"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(undisturbed, folder)
    before = _bytes_of(folder)
    without_later(folder, step)
    needed = before - _bytes_of(folder)
    room = int(needed * chance.choice([0.0, 0.1, 0.3, 0.5, 0.8])) if number >= len(STEPS) else 0
    limit = _limit_to(resource.RLIM_INFINITY)
    if is_mounted:
        _fill(disk / "filler", room)
    else:
        largest = max(path.stat().st_size for path in run_of(undisturbed).rglob("*") if path.is_file())
        limit = _limit_to(int(largest * chance.choice([0.0005, 0.01, 0.1, 0.5])))
    where = {f"{step.split('/')[0]}": 1}
    ending = pipeline(folder, before=limit)
    (disk / "filler").unlink(missing_ok=True)
    if ending.code != 0 and (problem := ending.refusal_problem()):
        return Outcome("disk", number, f"{step}, room for {room:,} bytes: {problem}", detail=where)
    if ending.code == 0 and is_mounted and room == 0:
        return Outcome("disk", number, f"{step}: exit code 0 with no room at all", detail=where)
    ending = pipeline(folder)
    if ending.code != 0:
        return Outcome("disk", number, f"{step}: with room again it does not go on: {ending.last_line[:300]}", detail=where)
    return Outcome("disk", number, difference(folder, undisturbed), detail=where)


def _fill(filler: Path, room: int) -> None:
    """Leave about `room` bytes of the file system free."""
    free = os.statvfs(filler.parent)
    with filler.open("wb") as handle:
        os.posix_fallocate(handle.fileno(), 0, max(free.f_bavail * free.f_frsize - room, 1))


def _limit_to(num_bytes: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
