"""A digest of bytes that are in memory: one buffer again and again, by OpenSSL's EVP through hashlib.

That is the same function of the same libcrypto that our digest lanes call. Nothing is read meanwhile and the buffer stays in the
CPU's cache, so a pass has it no better.
"""

from __future__ import annotations

import hashlib
import os
from functools import partial

from compare.ground import Ground
from compare.job import Job, Watch, part
from compare.result import Sample

BUFFER = 4 << 20


def digest(algorithm: str) -> Job:
    return part(f"digest-{algorithm}", f"{algorithm} of bytes in memory (OpenSSL)", "digest", partial(run, algorithm=algorithm))


def run(ground: Ground, algorithm: str) -> Sample:
    buffer = memoryview(os.urandom(min(BUFFER, ground.size)))
    found = hashlib.new(algorithm, usedforsecurity=False)
    watch = Watch()
    for left in range(ground.size, 0, -len(buffer)):
        found.update(buffer[:left])
    found.digest()
    return watch.read()
