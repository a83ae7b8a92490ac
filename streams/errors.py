"""What can go wrong with video, drawn as a tree.

::

    StreamError                  everything this package raises on purpose
    ├── SourceError              the input cannot be opened, read or decoded
    │   ├── SourceNotFoundError  there is nothing at that path or address
    │   └── NoVideoError         it opens, and holds no picture that can be decoded
    ├── SinkError                the output cannot be opened, encoded or written
    │   ├── SinkExistsError      the output is there already, and nobody said to replace it
    │   └── UnsupportedStreamError  the container cannot hold a stream or format that was asked for
    ├── FrameError               a frame that contradicts itself (a bug of a source or an enhancer)
    └── Cancelled                the caller asked the pipeline to stop

Errors of PyAV and of the operating system are translated where they enter (``raise … from error``). A message says what
came, what is allowed and what to try, in one line, and holds no password: see :func:`streams.redact.redact`.
"""


class StreamError(Exception):
    """The root of this package's errors."""


class SourceError(StreamError):
    """The input cannot be opened, read or decoded."""


class SourceNotFoundError(SourceError):
    """There is nothing at that path or address."""


class NoVideoError(SourceError):
    """The input opens, and holds no picture that can be decoded."""


class SinkError(StreamError):
    """The output cannot be opened, encoded or written."""


class SinkExistsError(SinkError):
    """The output exists already."""


class UnsupportedStreamError(SinkError):
    """The container or the encoder cannot hold what was asked for."""


class FrameError(StreamError):
    """The parts of a frame contradict each other."""


class Cancelled(StreamError):  # noqa: N818 -- as asyncio's CancelledError, it reports a wish rather than a fault
    """The caller asked the pipeline to stop; what was written until then is playable."""
