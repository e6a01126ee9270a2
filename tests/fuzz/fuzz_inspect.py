"""Coverage-guided fuzzing of the inspection: fuzz_inspect.py SECONDS [CRASH...]. What it finds is left in build/fuzz/inspect."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["glance_stream.inspection", "oslo_utils.imageutils.format_inspector"]):
    import oslo_utils.imageutils.format_inspector  # noqa: F401

    import glance_stream.inspection  # noqa: F401

from inspect_property import PREFIX, SEEDS, check_bytes

PLACE = Path(__file__).parent.parent.parent / "build" / "fuzz" / "inspect"
LONGEST = 400 << 10  # vhdx has its tables behind 256 KiB
SECONDS_PER_INPUT = 20


def main(seconds: int, *again: str) -> None:
    corpus, found = PLACE / "corpus", PLACE / "found"
    for directory in (corpus, found):
        directory.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS):
        (corpus / f"seed-{number}").write_bytes(number.to_bytes(PREFIX, "little") + seed[:LONGEST])
    logging.disable()  # the inspectors tell of each input
    options = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-timeout={SECONDS_PER_INPUT}", "-rss_limit_mb=1024"]
    options += [f"-artifact_prefix={found}/", "-print_final_stats=1", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, *(again or [str(corpus)])], lambda data: check_bytes(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
