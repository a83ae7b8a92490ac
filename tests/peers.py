"""Servers by others, as processes: GStreamer's for RTSP, nginx's for RTMP.

Tests are skipped where they are not installed, and their reason says how they are had on Debian. With
``VSR_PEERS=required`` they fail there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import NoReturn, Self

import pytest

from tests.receivers import LONG

NAME, PASSWORD = "viewer", "secret-word"
"""Who may enter where one has to say who he is."""

_SYSTEM_PYTHON = Path("/usr/bin/python3")
GST_PACKAGES = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly"
)
NGINX_PACKAGES = "nginx libnginx-mod-rtmp"
_RTMP_MODULES = [
    Path(folder) / "ngx_rtmp_module.so" for folder in ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules")
]

_NGINX = """
load_module {module};
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ }}
rtmp {{
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        application live {{ live on; }}
        application closed {{ live on; deny publish all; deny play all; }}
    }}
}}
"""


def absent(reason: str) -> NoReturn:
    """End the test for want of a server."""
    if os.environ.get("VSR_PEERS") == "required":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


class _Server:
    """A process, with those that it starts, that serves at the same port whenever it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Serve, at the port from before if there was one."""
        raise NotImplementedError

    def kill(self) -> None:
        """As in a power cut: it says nothing to anybody."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
            self._process = None

    def freeze(self) -> None:
        """Keep the connections, and do nothing, until :meth:`thaw`."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class GstServer(_Server):
    """``gst_server.py`` in its own Python. What is recorded is found in ``folder``.

    Attributes:
        ports: by ``"open"``, ``"basic"`` and ``"digest"``; the first stays as it is.
    """

    def start(self) -> None:
        if not _SYSTEM_PYTHON.exists():
            absent(f"no {_SYSTEM_PYTHON}, for which GStreamer's RTSP server would be")
        script = Path(__file__).with_name("gst_server.py")
        self._process = subprocess.Popen(
            [_SYSTEM_PYTHON, "-P", "-I", script, str(self.folder), str(self.port), NAME, PASSWORD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        facts = json.loads(line) if line else {}
        if not facts or "missing" in facts:
            self.kill()
            assert facts, "GStreamer's RTSP server ended, and should not"
            absent(f"no RTSP server of GStreamer's ({facts['missing']}); try: apt-get install {GST_PACKAGES}")
        self.ports: dict[str, int] = facts
        self.port = facts["open"]

    def url(self, path: str, *, door: str = "open", credentials: str = "") -> str:
        at = f"{credentials}@" if credentials else ""
        return f"rtsp://{at}127.0.0.1:{self.ports[door]}/{path}"

    def recordings(self) -> list[Path]:
        """What was taken, in the order in which it began."""
        return sorted(self.folder.glob("*.ts"), key=lambda path: int(path.stem))


class NginxServer(_Server):
    """nginx with its RTMP module: ``live/NAME`` is for all to send and to play, ``closed/NAME`` for nobody."""

    def start(self) -> None:
        program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        module = next((path for path in _RTMP_MODULES if path.exists()), None)
        if program is None or module is None:
            absent(f"no nginx with RTMP; try: apt-get install --no-install-recommends {NGINX_PACKAGES}")
        # It takes over an open socket that its environment names, so the port is never free for others in between.
        with socket.create_server(("127.0.0.1", self.port)) as listening:
            self.port = listening.getsockname()[1]
            file = self.folder / "nginx.conf"
            file.write_text(_NGINX.format(module=module, folder=self.folder, port=self.port))
            self._process = subprocess.Popen(
                [program, "-p", self.folder, "-c", file, "-e", self.folder / "error.log"],
                env={**os.environ, "NGINX": f"{listening.fileno()};"},
                pass_fds=[listening.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
            self._await_pid_file()

    def url(self, path: str = "live/stream") -> str:
        return f"rtmp://127.0.0.1:{self.port}/{path}"

    def _await_pid_file(self) -> None:
        assert self._process is not None
        until = time.monotonic() + LONG
        file = self.folder / "nginx.pid"
        while not (file.exists() and file.read_text().strip() == str(self._process.pid)):
            assert self._process.poll() is None, (self.folder / "error.log").read_text()
            assert time.monotonic() < until, "nginx does not come up"
            time.sleep(0.01)
