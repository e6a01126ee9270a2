"""The pass, its parts alone and its peers, on the same bytes in one run: ``PYTHONPATH=bench python -m compare --help``.

job.py        one thing that is measured
ground.py     where the bytes lie
sources/      the files that are read
parts/        the parts alone, of which the floor is made
workloads/    what is measured beside what, and the target of each
peers/        other programs
measure.py    one job in a process of its own
rounds.py     all jobs, in alternating rounds
floor.py      the least time that a workload can take
result.py     what is kept of a run
table.py      the result as text
report/       the result as plots, as a page and as Markdown; several results as their spread
"""
