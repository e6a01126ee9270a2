"""Only what pyproject.toml can't say: the one compiled module."""

from pathlib import Path

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "glance_stream._chunker",
            ["src/_chunker.pyx"],  # given as .pyx, so that the sdist holds the source and not generated C
            depends=[str(path) for pattern in ("*.pxi", "*.h") for path in sorted(Path("src").glob(pattern))],
            extra_compile_args=["-O3", "-g0", "-Wall", "-Werror=implicit-function-declaration"],
            libraries=["dl", "pthread"],
        )
    ]
)
