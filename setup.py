"""The part of the build that pyproject.toml cannot say: the arithmetic in C, without which everything works, slower."""

from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("vsr", "native")

# Loaded with ctypes, so it needs a compiler and no headers of Python's. The processor is asked at run time what it can.
setup(
    ext_modules=[
        Extension(
            "vsr.native._kernels",
            sorted(map(str, NATIVE.glob("*.c"))),
            depends=sorted(map(str, NATIVE.glob("*.h"))),
            extra_compile_args=["-O2", "-std=c11", "-ffp-contract=off", "-fvisibility=hidden"],
            optional=True,
        )
    ]
)
