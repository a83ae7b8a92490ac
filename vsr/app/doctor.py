"""``vsr doctor``: what this machine has, what will be used, and why."""

from __future__ import annotations

import importlib.util
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import av
import torch

from streams.sinks.encoders import available_encoders
from vsr import native
from vsr._version import __version__
from vsr.backends import choose, openvino_capabilities
from vsr.backends.base import usable_cores
from vsr.backends.native import has_int16
from vsr.models import MODELS, build_network
from vsr.weights import index

# Instructions that decide how fast a network runs on a CPU, as Linux names them.
_TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16")


def examine() -> dict[str, Any]:
    """Everything that bears on what ``vsr`` does here, as plain values."""
    return {
        "vsr": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": _cpu(),
        "packages": {name: _version(name) for name in ("torch", "openvino", "av", "numpy", "pillow", "opencv-python")},
        "ffmpeg": ".".join(map(str, av.library_versions["libavcodec"])),
        "cuda": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "c_code": native.state(),
        "openvino_capabilities": sorted(openvino_capabilities()),
        "encoders": list(available_encoders()),
        "choices": {name: _choice(name) for name in MODELS},
        "window": _window(),
    }


def _choice(model: str) -> dict[str, str]:
    has_int8 = any(info.model == model and info.precision == "int8" for info in index())
    spec = MODELS[model]
    # Without memory for its weights.
    with torch.device("meta"):
        network = build_network(model, scale=spec.scales[0])
    choice = choose(has_int8=has_int8, has_int16=has_int16(network), trained=spec.trained, channels=network.channels)
    return {"device": choice.device, "precision": choice.precision, "reason": choice.reason}


def _cpu() -> dict[str, Any]:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    lines = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in lines.items()}
    flags = fields.get("flags", "").split()
    return {
        "name": fields.get("model name", platform.processor() or "unknown"),
        "cores": usable_cores(),
        "instructions": [flag for flag in _TELLING_FLAGS if flag in flags],
    }


def _version(package: str) -> str | None:
    names = (package, f"{package}-headless") if package == "opencv-python" else (package,)
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _window() -> str:
    """Whether ``cv2``, which nothing but windows and the benchmark needs, can be used; it is not imported for that."""
    if importlib.util.find_spec("cv2") is None:
        return "opencv is not installed; nothing but the benchmark's comparison needs it"
    return "opencv is installed"


def report_lines(facts: dict[str, Any]) -> list[str]:
    """The facts of :func:`examine` as lines for people."""
    cpu = facts["cpu"]
    packages = ", ".join(f"{name} {version or 'missing'}" for name, version in facts["packages"].items())
    return [
        f"vsr {facts['vsr']}, Python {facts['python']}, {facts['system']}",
        f"CPU       {cpu['name']}, {cpu['cores']} cores, {' '.join(cpu['instructions']) or 'no wide instructions'}",
        f"CUDA      {', '.join(facts['cuda']) or 'no device'}",
        f"C code    {facts['c_code']}",
        f"OpenVINO  {' '.join(facts['openvino_capabilities']) or 'not installed'}",
        f"packages  {packages}; libavcodec {facts['ffmpeg']}",
        f"encoders  {', '.join(facts['encoders'])} (each opened once to be sure)",
        f"cv2       {facts['window']}",
        "models    what --device auto and --precision auto choose:",
        *(
            f"  {name:14} {choice['device']}, {choice['precision']}: {choice['reason']}"
            for name, choice in facts["choices"].items()
        ),
    ]
