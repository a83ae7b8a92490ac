"""How many pictures a crowd of viewers gets: ``python tests/page/crowd.py`` prints one line of JSON.

Every viewer has a window of its own width and a loupe at a place of its own, and says at once that it has shown what
came. Viewers are a process of their own; nothing is decoded or drawn. The bicubic picture stands for the network's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from av import VideoFrame
from websockets.asyncio.client import connect

from streams.frame import Frame, PixelFormat
from vsr import Upscaler
from vsr.app.clip import Clip
from vsr.app.enhancer import UpscalerEnhancer
from vsr.app.page.server import open_player
from vsr.app.page.stage import Pair, Stage

WIDTH, HEIGHT, SCALE = 640, 360, 2
_WARM_UP_SECONDS = 3.0


@dataclass
class Watched:
    """What a server asks a studio for."""

    stage: Stage
    published: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def state(self) -> dict[str, Any]:
        return {"phase": "running"}

    def publish(self, pairs: list[Pair], *, rate: int) -> None:
        begun = time.monotonic()
        while not self.over.wait(max(0.0, begun + self.published / rate - time.monotonic())):
            self.stage.publish(pairs[self.published % len(pairs)])
            self.published += 1


def frame_of(clip: Clip, index: int) -> Frame:
    stacked = VideoFrame.from_ndarray(clip.truth(index)).reformat(format="yuv420p").to_ndarray()
    chroma = stacked[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
    planes = (stacked[:HEIGHT], chroma[0], chroma[1])
    return Frame(planes=planes, format=PixelFormat(), pts=index, time_base=Fraction(1, 30))


def wish(number: int, *, loupe: bool) -> dict[str, Any]:
    part = {"x": number * 0.618 % 1, "y": number * 0.382 % 1, "width": 360, "height": 210}
    return {"width": 320 + 67 * number, "compare": True, "loupe": part if loupe else None}


async def watch(address: str, view: dict[str, Any], *, seconds: float) -> list[float]:
    """When pictures came, from the end of the warming up on."""
    came: list[float] = []
    async with connect(address, max_size=None, compression=None) as socket:
        await socket.send(json.dumps({"view": view}))
        until = time.monotonic() + _WARM_UP_SECONDS + seconds
        while time.monotonic() < until:
            message = await socket.recv()
            if isinstance(message, bytes):
                (length,) = struct.unpack_from(">I", message)
                await socket.send(json.dumps({"shown": json.loads(message[4 : 4 + length])["number"]}))
                came.append(time.monotonic())
    return [moment for moment in came if moment > until - seconds]


def crowd(address: str, viewers: int, loupes: bool, seconds: float, answers: Any) -> None:
    """All of them; in a process of its own."""

    async def all_of_them() -> list[list[float]]:
        views = (wish(number, loupe=loupes) for number in range(viewers))
        return await asyncio.gather(*(watch(address, view, seconds=seconds) for view in views))

    answers.put([len(came) / seconds for came in asyncio.run(all_of_them())])


def main() -> None:
    """Serve, let them look, and say what they got."""
    parser = argparse.ArgumentParser(description="Measure what a crowd of viewers gets.")
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10, help="how long to measure")
    parser.add_argument("--rate", type=int, default=30, help="pictures per second of the source")
    parser.add_argument("--loupes", action="store_true", help="each with a loupe")
    wanted = parser.parse_args()
    bicubic = UpscalerEnhancer(Upscaler("bicubic", scale=SCALE, threads=1))
    lock = threading.Lock()

    def baseline(small: Frame) -> Frame:
        with lock:
            return bicubic.submit([small]).result()[0]

    clip = Clip(width=WIDTH, height=HEIGHT, frames=12)
    smalls = [frame_of(clip, index) for index in range(clip.frames)]
    pairs = [Pair(small=one, large=baseline(one), network="bicubic", arrived=time.monotonic()) for one in smalls]
    studio = Watched(Stage(baseline))
    publisher = threading.Thread(target=studio.publish, args=[pairs], kwargs={"rate": wanted.rate})
    answers: Any = multiprocessing.get_context("spawn").Queue()
    with open_player(studio, host="127.0.0.1", port=0) as server:  # type: ignore[arg-type]
        publisher.start()
        address = f"ws://127.0.0.1:{server.port}/live/ws"
        arguments = (address, wanted.viewers, wanted.loupes, wanted.seconds, answers)
        process = multiprocessing.get_context("spawn").Process(target=crowd, args=arguments)
        process.start()
        rates = sorted(answers.get(timeout=wanted.seconds + 60))
        process.join()
        studio.over.set()
        publisher.join()
        studio.stage.close()
    way = {"viewers": wanted.viewers, "loupes": wanted.loupes, "rate": wanted.rate}
    fps = {"slowest_fps": round(rates[0], 1), "median_fps": round(statistics.median(rates), 1)}
    load = {"load": round(os.getloadavg()[0], 1), "cores": os.cpu_count()}
    sys.stdout.write(json.dumps({**way, **fps, **load}) + "\n")


if __name__ == "__main__":
    main()
