"""What a page can be fed with: what was named at the start, a sample, clips that were uploaded, and addresses."""

from __future__ import annotations

import re
import secrets
import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from streams.sources import NetworkSource, Source, open_source
from streams.sources.network import NETWORK_SCHEMES
from vsr.app.page.uploads import check_clip, ending_of
from vsr.app.page.words import PageError, label_of

BROWSER = "browser"
SAMPLE = "sample"

_ADDRESS = re.compile(rf"(?:{'|'.join(NETWORK_SCHEMES)})://\S+", re.IGNORECASE)
_SAMPLE_RATE = 25
_SAMPLE_SECONDS = 6


class Choice(NamedTuple):
    """A source that is offered: the key to ask for it by, and what it is called, which holds no password."""

    key: str
    label: str


class Sources:
    """Everything but the browser's camera, which is not opened but comes by itself.

    Args:
        named: what was named at the start, as :func:`streams.open_source` takes it.
        folder: for the sample and for uploads; of this object alone.
        allow_any: whether an address may be given in place of a key.
    """

    def __init__(self, named: Sequence[str], *, folder: Path, allow_any: bool = False) -> None:
        self._named = {f"named:{number}": name for number, name in enumerate(named)}
        self._folder, self._allow_any = folder, allow_any
        self._uploads: dict[str, tuple[Path, str]] = {}
        self._lock = threading.Lock()
        self._sample = _Sample(folder / "sample.mp4")

    @property
    def choices(self) -> tuple[Choice, ...]:
        """What is offered; uploads and addresses come besides."""
        named = [Choice(key, label_of(name)) for key, name in self._named.items()]
        return (*named, Choice(BROWSER, "This browser's camera"), Choice(SAMPLE, "Sample clip"))

    @property
    def labels(self) -> Mapping[str, str]:
        """What to call that which messages name otherwise."""
        with self._lock:
            uploads = {str(path): name for path, name in self._uploads.values()}
        return {**uploads, str(self._sample.path): "the sample", **{n: label_of(n) for n in self._named.values()}}

    def label(self, key: str) -> str:
        """What a source is called.

        Raises:
            PageError: it is not among those that are offered.
        """
        for choice in self.choices:
            if choice.key == key:
                return choice.label
        if key.startswith("upload:"):
            return self._upload(key)[1]
        self._check_address(key)
        return label_of(key)

    def open(self, key: str) -> Source:
        """Open a source; files go round for ever at their own pace.

        Raises:
            PageError: it is not among those that are offered.
            SourceError: it cannot be opened.
        """
        if key == SAMPLE:
            return open_source(self._sample.wait(), realtime=True, loop=True)
        if key in self._named:
            return open_source(self._named[key], realtime=True, loop=True)
        if key.startswith("upload:"):
            return open_source(self._upload(key)[0], realtime=True, loop=True)
        self._check_address(key)
        # Not by open_source, which takes what looks like an address for a file where there is one of that name.
        return NetworkSource(key)

    def is_ready(self, key: str) -> bool:
        """Whether there is nothing to be made before a source can be opened."""
        return key != SAMPLE or self._sample.made

    def prepare(self) -> None:
        """Begin to make the sample, in the background."""
        self._sample.prepare()

    def add_upload(self, path: Path, *, keep: str = "") -> str:
        """Take a clip over: it is moved into the folder. Clips from before are removed.

        Args:
            path: where it is now.
            keep: key of one from before that stays, because it is shown at this moment.

        Returns:
            The token; the key is ``upload:`` and the token.

        Raises:
            PageError: it is no video, or cannot be moved; it is still where it was.
        """
        check_clip(path)
        token = secrets.token_urlsafe(12)
        # Its own name is not trusted with anything but being shown.
        target = self._folder / f"upload-{secrets.token_hex(8)}{ending_of(path)}"
        try:
            shutil.move(path, target)
        except OSError as error:
            raise PageError(f"the clip could not be kept: {error.strerror}; upload it again") from error
        with self._lock:
            old = [other for other in self._uploads if f"upload:{other}" != keep]
            gone = [self._uploads.pop(other)[0] for other in old]
            self._uploads[token] = (target, path.name)
        for file in gone:
            file.unlink(missing_ok=True)
        return token

    def close(self) -> None:
        """Wait for what is made in the background, so that the folder can be removed."""
        self._sample.close()

    def _upload(self, key: str) -> tuple[Path, str]:
        with self._lock:
            upload = self._uploads.get(key.removeprefix("upload:"))
        if upload is None:
            raise PageError("that clip is no longer here; upload it again")
        return upload

    def _check_address(self, key: str) -> None:
        if not self._allow_any:
            raise PageError("that source is not among those offered; 'vsr preview --allow-any-source' takes addresses")
        if not _ADDRESS.fullmatch(key):
            schemes = ", ".join(f"{scheme}://" for scheme in NETWORK_SCHEMES)
            raise PageError(f"that is not an address; allowed are {schemes}")


class _Sample:
    """A clip of real pictures, made when it is first wanted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    @property
    def made(self) -> bool:
        return self._thread is not None and not self._thread.is_alive()

    def prepare(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._make, name="vsr-sample", daemon=True)
                self._thread.start()

    def wait(self) -> Path:
        self.prepare()
        self.close()
        if self._error is not None:
            raise PageError("the sample could not be made; see the log of the server") from self._error
        return self.path

    def close(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _make(self) -> None:
        from vsr.app.clip import Clip, write_clip

        try:
            clip = Clip(frames=_SAMPLE_SECONDS * _SAMPLE_RATE, rate=_SAMPLE_RATE)
            write_clip(self.path, clip, crf=18, preset="veryfast", sound=False)
        except Exception as error:
            self._error = error
