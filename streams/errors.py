"""What can go wrong with video, drawn as a tree.

::

    StreamError                  everything this package raises on purpose
    ├── SourceError              the input cannot be opened, read or decoded
    │   ├── SourceNotFoundError  there is nothing at that path or address
    │   ├── NoVideoError         it opens, and holds no picture that can be decoded
    │   ├── AccessDeniedError    it wants a name and a password, or a right, that we do not have
    │   └── SourceLostError      a live input cannot be reached, or went away and did not come back
    ├── SinkError                the output cannot be opened, encoded or written
    │   ├── SinkExistsError      the output is there already, and nobody said to replace it
    │   ├── SinkRefusedError     the other side does not let us in: to try again is of no use
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


class AccessDeniedError(SourceError):
    """The input refuses us; trying again with the same address would be no use."""


class SourceLostError(SourceError):
    """A live input cannot be reached, or went away; it may come back."""


class SinkError(StreamError):
    """The output cannot be opened, encoded or written."""


class SinkExistsError(SinkError):
    """The output exists already."""


class SinkRefusedError(SinkError):
    """The other side of a network output does not let us in; to try again is of no use."""


class UnsupportedStreamError(SinkError):
    """The container or the encoder cannot hold what was asked for."""


class FrameError(StreamError):
    """The parts of a frame contradict each other."""


class Cancelled(StreamError):  # noqa: N818 -- as asyncio's CancelledError, it reports a wish rather than a fault
    """The caller asked the pipeline to stop; what was written until then is playable."""
