"""Coverage-guided fuzzing of one decoder: fuzz_decode.py FORMAT SECONDS [CRASH...]. What it finds is left in build/fuzz/FORMAT."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["glance_stream.decode"]):
    import glance_stream.decode
    import glance_stream.decode.bz2
    import glance_stream.decode.gzip
    import glance_stream.decode.lha
    import glance_stream.decode.lz4
    import glance_stream.decode.xz
    import glance_stream.decode.zip
    import glance_stream.decode.zstd  # noqa: F401

from decode_property import check
from decode_seeds import repaired, seeds

PLACE = Path(__file__).parent.parent.parent / "build" / "fuzz"
LONGEST = 16 << 10
SECONDS_PER_INPUT = 20


def main(name: str, seconds: int, *again: str) -> None:
    corpus, found = PLACE / name / "corpus", PLACE / name / "found"
    for directory in (corpus, found):
        directory.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)
        kind = chance.randrange(16)
        if kind == 0:
            return (data.rstrip(b"\0") + bytes(chance.randrange(14)))[:most]  # padding, which may be refused by its length
        if kind == 1:
            return (data + chance.choice(seeds(name)))[:most]
        mutated: bytes = atheris.Mutate(data, most)
        return repaired(name, mutated)[:most] if kind % 2 else mutated

    options = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-timeout={SECONDS_PER_INPUT}", "-rss_limit_mb=1024"]
    options += [f"-artifact_prefix={found}/", "-print_final_stats=1", "-verbosity=0"]
    atheris.Setup(
        [sys.argv[0], *options, *(again or [str(corpus)])], lambda data: check(name, data) and None, custom_mutator=mutate
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
