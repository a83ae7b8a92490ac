"""The part of the build that pyproject.toml cannot say: the arithmetic in C, without which everything works, slower."""

from setuptools import Extension, setup

# Loaded with ctypes, so it needs a compiler and no headers of Python's. The processor is asked at run time what it can.
setup(
    ext_modules=[
        Extension(
            "vsr.native._kernels",
            ["vsr/native/kernels.c"],
            extra_compile_args=["-O2", "-std=c11", "-fvisibility=hidden"],
            optional=True,
        )
    ]
)
