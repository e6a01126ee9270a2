"""Only what pyproject.toml can't say: the one compiled module."""

import os
from pathlib import Path

from setuptools import Extension, setup

# A traced build (coverage of the .pyx) is slow: never for wheels, never for benchmarks.
TRACE = [("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")] if os.environ.get("GLANCE_STREAM_TRACE") else []

setup(
    ext_modules=[
        Extension(
            "glance_stream._chunker",
            ["src/_chunker.pyx"],  # given as .pyx, so that the sdist holds the source and not generated C
            depends=[str(path) for pattern in ("*.pxi", "*.h") for path in sorted(Path("src").glob(pattern))],
            define_macros=TRACE,
            extra_compile_args=["-O3", "-g0", "-Wall", "-Werror=implicit-function-declaration"],
            libraries=["dl", "pthread"],
        )
    ]
)
