"""Crash harness: glance-stream is killed, interrupted or loses power at random points, recovers, and its stores are looked at.

    cd tests && python -m crash --seed 7 --count 500                         # kill -9, SQLite, file + S3 + Swift
    python -m crash --count 500 --signal term                               # also int, or twice: an impatient user's two signals
    python -m crash --count 500 --stores file,s3,rbd --database postgresql  # real servers, started where they are not running
    python -m crash --count 300 --power                                     # the power fails: what was not fsynced may be gone

Each prints a table and, with ``--json FILE``, writes the same; exit code 1 if a promise was broken. Every point can be repeated
from its seed as far as the order of threads allows: a victim dies at the n-th occurrence of a named step (a call of a store, a
record, a statement, a system call, a send) or after a random time.

``launcher``: a process that has everything imported and forks a victim per point. ``steps``: what counts as a step, wrapped from
outside. ``workload``: a site's life, one operation after the other, and what may be true after each. ``places``, ``records``: what
the stores' own clients and plain SQL find. ``invariants``: what must hold. ``power_log``, ``power_cut`` and ``shim.c``: what a disk
holds after a power cut.
"""
