"""Compares larder with others, side by side in one run, and prints a table of ratios.

Each measurement runs on a server that was just started in an empty directory; in each
round every system has its turn, and the order moves on from round to round. Everything
stays on 127.0.0.1; what is written goes to a directory that is removed at the end.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import report
import rows
import rows_under_load
from rows import GIB, Settings
from server import Server
from systems import all_systems

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "target" / "compare"


def main():
    options = arguments()
    # A stop from outside ends in the same clean-up as an error.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    systems = chosen(all_systems(options.larder, options.dufs, options.before), options.systems)
    TARGET.mkdir(parents=True, exist_ok=True)
    load_before = os.getloadavg()[0]
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=options.dir))
    spread(directory)
    try:
        settings = Settings(directory, int(options.size * GIB), options.seconds, options.scale)
        everything = rows.groups(settings) + rows_under_load.groups(settings)
        everything = [g for g in everything if settings.scale or not g.scale]
        wanted = chosen(everything, options.rows)
        need_space(directory, settings, wanted, systems, options.rounds)
        values = defaultdict(lambda: defaultdict(list))
        for round_number in range(options.rounds):
            measure_round(round_number, wanted, systems, settings, values)
        result = report.summary(wanted, systems, values, options.rounds, load_before)
        options.json.write_text(json.dumps(result, indent=1) + "\n")
        print(report.markdown(result), flush=True)
        log(f"as JSON: {options.json}; now the files are removed, which may take long")
    finally:
        shutil.rmtree(directory)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rows", metavar="KEYS", help="groups of rows, comma-separated; all by default")
    add("--systems", metavar="KEYS", help="systems, comma-separated; ratios are to the first")
    add("--rounds", type=int, default=5)
    add("--size", type=float, default=1.0, help="of the big file, in GiB")
    add("--seconds", type=int, default=5, help="that each load of wrk lasts")
    add("--scale", type=int, default=0, help="files for the rows `start` and `full`; 0: no such rows")
    add("--larder", type=Path, default=ROOT / "target" / "release" / "larder")
    add("--before", type=Path, help="a larder from before a change")
    add("--dufs", type=Path, default=TARGET / "bin" / "dufs")
    add("--dir", type=Path, default=TARGET, help="where to write; emptied at the end")
    add("--json", type=Path, default=TARGET / "results.json")
    return parser.parse_args()


def chosen(things, keys):
    """Those that the comma-separated keys name, in their own order."""
    if keys is None:
        return things
    known = {thing.key: thing for thing in things}
    for key in keys.split(","):
        if key not in known:
            sys.exit(f"no {key} among {', '.join(known)}")
    return [thing for thing in things if thing.key in keys.split(",")]


def spread(directory: Path):
    """Has ext4 put each directory below this one into another part of the disk.

    Without a journal, ext4 steps around every inode that was freed within the last
    minutes; where many were, it creates files ten times as slowly.
    """
    subprocess.run(["chattr", "+T", directory], check=False, stderr=subprocess.DEVNULL)


def need_space(directory: Path, settings: Settings, wanted, systems, rounds: int):
    """Room for the files that are sent, one stored copy, one on its way, and what stays."""
    once = sum(system.keeps_records for system in systems)
    stays = sum(
        group.stays(settings) * (once if group.scale else len(systems) * rounds)
        for group in wanted
    )
    needed = (1 + 4 + 4 + 4) * settings.size + stays
    if shutil.disk_usage(directory).free < needed:
        sys.exit(f"{needed / GIB:.0f} GiB must be free in {directory}")


def measure_round(number, wanted, systems, settings, values):
    turn = number % len(systems)
    for group in wanted:
        for system in systems[turn:] + systems[:turn]:
            if group.scale and (number > 0 or not system.keeps_records):
                continue
            measured = measure(group, system, settings)
            log(f"round {number + 1}, {system.name}: {measured}")
            for row in group.rows:
                values[row.key][system.name].append(measured.get(row.key))


def measure(group, system, settings) -> dict[str, float]:
    """One measurement; nothing when it failed, so that the others go on."""
    directory = Path(tempfile.mkdtemp(dir=settings.directory))
    try:
        with Server(system, directory) as server:
            return group.measure(server, settings)
    except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as problem:
        log(f"{system.name}, {group.key}: {problem}")
        return {}
    finally:
        # Freeing many inodes would slow down those who come next: see `spread`.
        if not group.stays(settings):
            shutil.rmtree(directory)


def log(message: str):
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
