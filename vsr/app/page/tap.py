"""How pairs come to be: small frames are remembered on their way in, and met again on the way out."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from streams.enhancer import Enhancer, Pending
from streams.frame import Frame, Item
from streams.sinks.base import Sink
from vsr.app.page.stage import Pair, Stage
from vsr.app.page.stills import Look

if TYPE_CHECKING:
    from vsr.app.live_ends import Feed

# More than can be under way at once: frames that are dropped behind the network never come out.
_REMEMBERED = 16


class StageTap:
    """Shows a run on a stage: put :meth:`wrap` around its enhancer and :attr:`sink` among its outputs.

    Frames are passed on and shown as they are; no pixel is copied, and nothing ever waits.

    Args:
        stage: where the pairs go.
        network: asked for the name of the network in use, on the enhancer's thread.

    Attributes:
        sink: publishes what is written into it.
        look: how a player shows the large frames.
    """

    def __init__(self, stage: Stage, *, network: Callable[[], str] = lambda: "") -> None:
        self.sink: Sink = _StageSink(self)
        self.look = Look()
        self._network = network
        self._stage = stage
        self._lock = threading.Lock()
        self._under_way: OrderedDict[int, tuple[Frame, str]] = OrderedDict()

    def wrap(self, enhancer: Enhancer) -> Enhancer:
        """The same enhancer, watched."""
        return _Watched(enhancer, self)

    def open_sink(self, feed: Feed) -> Sink:
        """:attr:`sink`, once it is known how its frames are shown."""
        self.look = Look.of(feed)
        return self.sink

    def took(self, frames: Sequence[Frame]) -> None:
        """Remember frames that were handed to the network."""
        name = self._network()
        with self._lock:
            for frame in frames:
                self._under_way[frame.pts] = frame, name
                self._under_way.move_to_end(frame.pts)
            while len(self._under_way) > _REMEMBERED:
                self._under_way.popitem(last=False)

    def made(self, large: Frame) -> None:
        """Publish a frame with the one that it was made of; one that nobody remembers is passed over."""
        with self._lock:
            if large.pts not in self._under_way:
                return
            before = None
            # Frames come out in the order in which they went in: older ones were dropped.
            while before != large.pts:
                before, (small, network) = self._under_way.popitem(last=False)
        arrived = monotonic() if large.arrived is None else large.arrived
        self._stage.publish(Pair(small=small, large=large, network=network, arrived=arrived, look=self.look))

    def forget(self) -> None:
        """Let go of all frames."""
        with self._lock:
            self._under_way.clear()


@dataclass(frozen=True, slots=True)
class _Watched:
    enhancer: Enhancer
    tap: StageTap

    def submit(self, frames: Sequence[Frame]) -> Pending:
        pending = self.enhancer.submit(frames)
        # Afterwards: which network it is may be settled only now.
        self.tap.took(frames)
        return pending

    def reset(self) -> None:
        self.enhancer.reset()


class _StageSink(Sink):
    def __init__(self, tap: StageTap) -> None:
        self._tap = tap

    def write(self, item: Item) -> None:
        if isinstance(item, Frame):
            self._tap.made(item)

    def close(self) -> None:
        self._tap.forget()

    def abort(self) -> None:
        self._tap.forget()
