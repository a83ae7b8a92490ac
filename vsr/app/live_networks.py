"""The networks of one live run: the chosen one or a ladder of them, and bicubic to hold them against."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from streams.errors import Cancelled
from vsr.app.boxed import BoxedEnhancer
from vsr.app.enhancer import UpscalerEnhancer
from vsr.app.governed import Geometry, GovernedEnhancer, blank
from vsr.app.ladder import FLOOR, ladder
from vsr.models import model_spec
from vsr.weights import find

if TYPE_CHECKING:
    from streams.enhancer import Enhancer
    from vsr.upscaler import Upscaler

logger = logging.getLogger(__name__)

Quality = Literal["fixed", "auto"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """What is computed, and how.

    Attributes:
        model: the network; with ``quality="auto"`` the best that may be used.
        scale: 2, 3 or 4; 2 where ``to`` is not given either.
        to: in place of ``scale``, as :func:`vsr.upscale_video` takes it.
        quality: ``"auto"`` moves to cheaper networks and back so that the source's rate is held.
        device: as :class:`vsr.Upscaler` takes it.
        precision: as :class:`vsr.Upscaler` takes it.
        threads: CPU cores for the network; 0 for all.
        reuse: as :class:`vsr.Upscaler` takes it: what does not change is not computed again.
        latency: all cores on each picture; False for a core each, where several streams have one at once.
    """

    model: str = "ecbsr"
    scale: int | None = None
    to: str | None = None
    quality: Quality = "fixed"
    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    reuse: str = "auto"
    latency: bool = True


class LiveNetworks:
    """Makes networks that all give pictures of one size.

    Args:
        options: which.
        scale: by which they enlarge.
        geometry: of the frames that will come first.
        size: (width, height) of every larger picture.
        stopped: asked between two steps of what takes long, whether it is still wanted.

    Attributes:
        governed: the ladder, where there is one, after :meth:`make`.
        in_flight: batches that the networks made so far work on at once.

    Raises:
        UnknownModelError, WeightsError: the network does not exist, or not at that scale.
    """

    def __init__(
        self,
        options: LiveOptions,
        *,
        scale: int,
        geometry: Geometry,
        size: tuple[int, int],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.governed: GovernedEnhancer | None = None
        self.in_flight = 1
        self._options, self._scale = options, scale
        self._geometry, self._size, self._stopped = geometry, size, stopped
        self._baseline: Enhancer | None = None
        self._baseline_lock = threading.Lock()
        # Names alone, nothing is loaded: a wrong one must be told before anything is opened.
        self._rungs = _rungs(options, scale=scale)

    @property
    def current(self) -> str:
        """Name of the network in use. From any thread."""
        return self._options.model if self.governed is None else self.governed.network

    def make(self) -> Enhancer:
        """Build what the run needs, and have it ready for its first frame: about a second for each network.

        Raises:
            Cancelled: it was not wanted any more.
            VsrError: the device or the precision is not here.
        """
        if self._options.quality == "auto":
            logger.info("networks to choose from: %s", ", ".join(self._rungs))
            self.governed = GovernedEnhancer(self._rungs, self._build, geometry=self._geometry)
            self._go_on()
            return self.governed
        enhancer = self._build(self._options.model)
        self._go_on()
        # The first frame of a size compiles the network; better now than with the source waiting.
        enhancer.submit([blank(self._geometry)]).result()
        self._go_on()
        return enhancer

    def baseline(self) -> Enhancer:
        """Bicubic, built when it is first asked for. From any thread; what it returns is for one thread at a time."""
        with self._baseline_lock:
            if self._baseline is None:
                self._baseline = self._build(FLOOR)
            return self._baseline

    def close(self) -> None:
        """End what works in the background."""
        if self.governed is not None:
            self.governed.close()

    def _build(self, name: str) -> Enhancer:
        self._go_on()
        from vsr.upscaler import Upscaler

        options = self._options
        upscaler = Upscaler(
            name,
            scale=self._scale,
            device=options.device,
            # A precision that is asked for is meant for the network; those that stand in for it have their own.
            precision=options.precision if name == options.model else "auto",
            threads=options.threads,
            latency=options.latency,
            reuse=options.reuse,
        )
        self._note(upscaler)
        width, height, _ = self._geometry
        return BoxedEnhancer(UpscalerEnhancer(upscaler), size=self._size, first=(width, height))

    def _note(self, upscaler: Upscaler) -> None:
        choice = upscaler.choice
        if self._options.latency:
            # Otherwise it is the streams that keep the cores busy, each with one picture.
            self.in_flight = max(self.in_flight, upscaler.in_flight)
        logger.info(
            "%s x%d on %s, %s: %s", upscaler.model, upscaler.scale, choice.device, choice.precision, choice.reason
        )

    def _go_on(self) -> None:
        if self._stopped():
            raise Cancelled("stopped while the network was made ready, as asked; nothing was written")


def _rungs(options: LiveOptions, *, scale: int) -> tuple[str, ...]:
    if options.quality == "auto":
        return ladder(options.model, scale=scale)
    if model_spec(options.model, scale=scale).trained:
        find(options.model, scale=scale)
    return (options.model,)
