"""``python -m crash``, from the directory tests."""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path

import crash
from crash.harness import MOST_VIOLATIONS, Harness
from crash.power import STORES, PowerHarness, compiler
from crash.report import Report
from crash.site import Servers, make_places


def main() -> int:
    given = _arguments()
    seed = random.randrange(1 << 32) if given.seed is None else given.seed
    about = {"seed": seed, "database": given.database.partition(":")[0], "stores": given.stores, "signal": given.signal}
    report = _side_by_side(given, seed, Report(about)) if given.jobs > 1 else _run(given, seed, about)
    print("\n".join(report.lines()))
    if given.json:
        given.json.write_text(json.dumps(report.as_dict(), indent=1))
    return 1 if report.violations else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m crash", description=crash.__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, help="of all that is chosen at random; shown in the report")
    parser.add_argument("--count", type=int, default=200, help="points that must hit")
    parser.add_argument("--seconds", type=float, default=math.inf, help="end after this time, with as many points as there are")
    parser.add_argument("--database", default="sqlite", help="sqlite, postgresql, mariadb, or a URL")
    parser.add_argument("--stores", default="file,s3,swift", help="of file, s3, swift, rbd; file1,file2,file3 is quick")
    parser.add_argument("--signal", default="kill", help="kill, int, term, or several with commas between them")
    parser.add_argument("--twice", action="store_true", help="each signal is followed by a second one, as of an impatient user")
    parser.add_argument("--power", action="store_true", help="cut the power instead; file stores and SQLite")
    parser.add_argument(
        "--ignore", choices=("file", "directory"), help="with --power: whose fsync is left out; ends when that is found"
    )
    parser.add_argument("--operations", default="import,copy,delete", help="what is done to the images")
    parser.add_argument("--jobs", type=int, default=1, help="harnesses side by side, each with a site of its own")
    parser.add_argument("--json", type=Path, help="write the report to this file too")
    return parser.parse_args()


def _run(given: argparse.Namespace, seed: int, about: dict[str, object]) -> Report:
    if given.power:
        return _cut_power(given, seed, about)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crash-")))
        servers = stack.enter_context(closing(Servers()))
        places = make_places(servers, given.stores.split(","), directory)
        for place in places:
            stack.callback(place.close)
        harness = Harness(
            directory,
            places,
            stack.enter_context(servers.database(given.database, directory)),
            seed,
            signals=given.signal.split(","),
            twice=given.twice,
            operations=given.operations.split(","),
            about=about,
        )
        stack.callback(harness.close)
        return harness.run(given.count, seconds=given.seconds)


def _cut_power(given: argparse.Namespace, seed: int, about: dict[str, object]) -> Report:
    if compiler() is None:
        raise SystemExit("a C compiler is needed for the log of what a process does to its files: install gcc, or another cc")
    with tempfile.TemporaryDirectory(prefix="crash-") as name:
        harness = PowerHarness(Path(name), seed, ignore=given.ignore, about=about | {"stores": ",".join(STORES), "signal": "power"})
        try:
            return harness.run(given.count, 1 if given.ignore else MOST_VIOLATIONS, given.seconds)
        finally:
            harness.close()


def _side_by_side(given: argparse.Namespace, seed: int, report: Report) -> Report:
    """The same command in processes of their own, each with a seed that follows from this one's."""
    with tempfile.TemporaryDirectory(prefix="crash-jobs-") as name, closing(Servers()) as servers:
        if not given.power:
            servers.start(given.stores.split(","), given.database)
        jobs = []
        for number in range(given.jobs):
            found = Path(name) / f"{number}.json"
            words = {"seed": seed + number, "count": -(-given.count // given.jobs), "json": found}
            words |= {key: getattr(given, key) for key in ("seconds", "database", "stores", "signal", "operations")}
            command = [sys.executable, "-m", "crash", *(f"--{key}={value}" for key, value in words.items())]
            command += ["--twice"] * given.twice + ["--power"] * given.power
            jobs.append((subprocess.Popen(command, stdout=subprocess.DEVNULL), found))
        for process, found in jobs:
            process.wait()
            report.add(json.loads(found.read_text()))
    return report


if __name__ == "__main__":
    sys.exit(main())
