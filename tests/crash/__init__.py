"""Crash harness: glance-stream is killed, interrupted or loses power at random points, recovers, and its stores are looked at.

    make crash SEED=7 COUNT=500                                             # kill -9, SQLite, file + S3 + Swift
    make crash DATABASE=postgresql ARGS="--stores file,s3,rbd"              # real servers, started where they are not running
    make crash ARGS="--signal int,term"                                     # --twice: a second one, as of an impatient user
    make crash ARGS="--power"                                               # what was not fsynced may be gone
    cd tests && python -m crash --help                                      # the same without make

Each prints a table and, with ``--json FILE``, writes the same; exit code 1 if a promise was broken. Every point can be repeated
from its seed as far as the order of threads allows: a victim dies at the n-th occurrence of a named step (a call of a store, a
record, a statement, a system call, a send) or after a random time.

``launcher``: a process that has everything imported and forks a victim per point. ``steps``: what counts as a step, wrapped from
outside. ``workload``: a site's life, one operation after the other, and what may be true after each. ``places``, ``records``: what
the stores' own clients and plain SQL find. ``invariants``: what must hold. ``power_log``, ``power_cut`` and ``shim.c``: what a disk
holds after a power cut.
"""
