"""The governor on a simulated machine: what it does in which second; and the enhancer that carries it out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from stubs import StubEnhancer, StubPending, frame, wait_for

from streams.frame import Frame
from vsr.app import governed as enhancers
from vsr.app.governed import GovernedEnhancer, Watch
from vsr.app.governor import Governor, Load, Move, Tuning
from vsr.app.ladder import ladder
from vsr.errors import UnknownModelError, WeightsError

FPS = 30
COSTS = {"best": 0.020, "middle": 0.010, "floor": 0.002}
EAGER = Tuning(slot_seconds=0.0, settle_seconds=0.0, calm_seconds=0.0)


class Machine:
    """A live run in simulated time: one frame at a time, those that come meanwhile are dropped.

    ``slowness`` says by how much everything takes longer at a time.
    """

    def __init__(
        self,
        *,
        costs: dict[str, float] | None = None,
        slowness: Callable[[float], float] = lambda now: 1.0,
        tuning: Tuning | None = None,
        start: str = "floor",
        known: bool = True,
    ) -> None:
        self.costs = COSTS if costs is None else costs
        self.slowness = slowness
        self.governor = Governor(list(self.costs), start=start, tuning=tuning)
        self.now, self.frames, self.busy, self.dropped = 0.0, 0, 0.0, 0
        self.moves: list[Move] = []
        self.measured: list[tuple[float, str]] = []
        if known:
            for name in self.costs:
                self.measure(name)

    def cost(self, name: str) -> float:
        return self.costs[name] * self.slowness(self.now)

    def measure(self, name: str) -> None:
        self.governor.measured(name, self.cost(name), now=self.now)

    def run(self, seconds: float) -> Machine:
        end = self.now + seconds
        while self.now < end:
            cost = self.cost(self.governor.current)
            self.busy += cost
            self.frames += 1
            intervals = max(1, int(cost * FPS) + (cost * FPS % 1 > 0))
            self.dropped += intervals - 1
            self.now += intervals / FPS
            load = Load(
                now=self.now,
                interval_seconds=1 / FPS,
                frames=self.frames,
                busy_seconds=self.busy,
                dropped=self.dropped,
            )
            move = self.governor.decide(load)
            if move:
                self.moves.append(move)
            wanted = self.governor.wants_measured(now=self.now)
            if wanted:
                self.measured.append((self.now, wanted))
                self.measure(wanted)
        return self

    @property
    def path(self) -> list[str]:
        return [move.after for move in self.moves]


def slow_between(start: float, end: float, factor: float) -> Callable[[float], float]:
    return lambda now: factor if start <= now < end else 1.0


# ------------------------------------------------------------------------------------------------------------ decisions


def test_it_goes_to_the_best_that_fits_at_once_and_stays() -> None:
    machine = Machine().run(120)
    assert machine.path == ["best"]
    assert machine.moves[0].at < 1
    assert machine.dropped == 0


def test_what_would_leave_no_headroom_is_not_tried() -> None:
    machine = Machine(costs={"best": 0.028, "middle": 0.015, "floor": 0.002}).run(120)
    assert machine.path == ["middle"]


def test_nothing_is_tried_that_was_not_measured() -> None:
    machine = Machine(known=False).run(30)
    assert machine.path == []
    machine.measure("middle")
    assert machine.run(1).path == ["middle"]
    machine.measure("best")
    assert machine.run(5).path == ["middle", "best"]


def test_overload_is_answered_within_two_seconds_and_by_what_then_fits() -> None:
    machine = Machine(slowness=slow_between(20, 1e9, 2.2)).run(60)
    assert machine.path == ["best", "middle"]
    assert 20 < machine.moves[1].at < 22
    assert "best takes 44 ms of the 33 ms" in machine.moves[1].reason


def test_a_heavy_overload_skips_what_would_not_fit_either() -> None:
    machine = Machine(slowness=slow_between(20, 1e9, 6)).run(60)
    assert machine.path == ["best", "floor"]


def test_after_the_overload_it_comes_back_but_not_at_once() -> None:
    machine = Machine(slowness=slow_between(20, 30, 2.5)).run(120)
    assert machine.path == ["best", "floor", "best"] or machine.path == ["best", "middle", "best"]
    assert 30 < machine.moves[-1].at < 50
    assert machine.moves[-1].at - machine.moves[1].at >= Tuning().calm_seconds


def test_drops_without_a_slow_network_are_overload_too() -> None:
    """The encoder may be what is too slow: a cheaper network leaves it more of the machine."""
    machine = Machine().run(10)
    for _ in range(40):
        machine.dropped += 1
        machine.run(1 / 15)
    assert machine.path[:2] == ["best", "middle"]
    assert "frames were dropped" in machine.moves[1].reason


def test_a_single_hiccup_moves_nothing() -> None:
    machine = Machine(slowness=slow_between(20, 20.03, 15)).run(40)
    assert machine.dropped > 0
    assert machine.path == ["best"]


def test_a_machine_at_its_limit_is_not_seen_swinging() -> None:
    """Measured alone the network fits, in use it does not: the moves up become rarer and rarer."""
    machine = Machine()

    def measure(name: str) -> None:
        machine.governor.measured(name, 0.5 * machine.cost(name), now=machine.now)

    machine.measure = measure  # type: ignore[method-assign]
    machine.costs = {"best": 0.040, "middle": 0.010, "floor": 0.002}
    for name in machine.costs:
        measure(name)
    machine.run(1200)
    tries = [move.at for move in machine.moves if move.after == "best"]
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert len(tries) < 10
    assert all(later > 1.5 * earlier for earlier, later in pairwise(pauses[:5]))
    assert max(pauses) < 320


def test_a_network_that_held_its_trial_is_forgiven() -> None:
    machine = Machine(slowness=lambda now: 2.2 if 20 < now < 24 or 100 < now < 104 else 1.0).run(200)
    ups = [move.at for move in machine.moves if move.after == "best"]
    assert len(ups) == 3
    assert ups[1] - 24 < 15
    assert ups[2] - 104 < 15


def test_a_network_far_too_slow_is_measured_less_and_less_often() -> None:
    machine = Machine(costs={"best": 1.0, "middle": 0.010, "floor": 0.002}).run(3600)
    times = [at for at, name in machine.measured if name == "best"]
    assert 5 < len(times) < 20
    assert machine.path == ["middle"]


def test_a_network_that_takes_seconds_is_found_out() -> None:
    machine = Machine(slowness=slow_between(20, 1e9, 150)).run(60)
    assert machine.path[0] == "best"
    assert machine.path[1] == "floor"


def test_at_the_floor_it_stays_whatever_happens() -> None:
    machine = Machine(slowness=lambda now: 100).run(60)
    assert machine.path == []
    assert machine.governor.current == "floor"


def test_without_a_known_rate_it_moves_only_for_drops() -> None:
    governor = Governor(["best", "floor"], start="best")
    governor.measured("floor", 0.001, now=0)
    moves = [
        governor.decide(Load(now=step / 10, interval_seconds=0, frames=step, busy_seconds=step, dropped=0))
        for step in range(100)
    ]
    assert moves == [None] * 100


def test_after_a_move_down_no_time_counts_that_was_measured_before() -> None:
    governor = Governor(["best", "floor"], start="best", tuning=EAGER)

    def decide(now: float, *, busy_seconds: float) -> Move | None:
        return governor.decide(
            Load(now=now, interval_seconds=1 / FPS, frames=int(now), busy_seconds=busy_seconds, dropped=0)
        )

    governor.measured("best", COSTS["best"], now=0)
    governor.measured("floor", COSTS["floor"], now=0)
    moves = [decide(now, busy_seconds=now) for now in (1, 2, 3)]
    assert [move.after for move in moves if move] == ["floor"]
    assert decide(20, busy_seconds=3) is None
    governor.measured("best", COSTS["best"], now=20)
    move = decide(21, busy_seconds=3)
    assert move is not None
    assert move.after == "best"


def test_a_network_that_cannot_be_had_is_off_the_ladder() -> None:
    machine = Machine(known=False)
    machine.governor.remove("best")
    machine.measure("middle")
    assert machine.run(10).path == ["middle"]
    machine.governor.remove("middle")
    assert machine.governor.names == ("middle", "floor")


# --------------------------------------------------------------------------------------------------------- the enhancer


class Named(StubEnhancer):
    """Widens nothing, and says by each frame's duration who worked on it."""

    def __init__(self, number: int, gate: threading.Event | None = None) -> None:
        super().__init__(lambda frames: [replace(each, duration=number) for each in frames])
        self.threads: set[str] = set()
        self.resets = 0
        self._gate = gate

    def submit(self, frames: Sequence[Frame]) -> StubPending:
        self.threads.add(threading.current_thread().name)
        if self._gate is not None:
            assert self._gate.wait(20)
        return super().submit(frames)

    def reset(self) -> None:
        self.resets += 1


@pytest.fixture
def governed() -> Iterator[Callable[..., tuple[GovernedEnhancer, dict[str, Named]]]]:
    made: list[GovernedEnhancer] = []

    def make(**gates: threading.Event) -> tuple[GovernedEnhancer, dict[str, Named]]:
        built = {name: Named(number, gates.get(name)) for number, name in enumerate(("best", "floor"), start=1)}
        enhancer = GovernedEnhancer(
            ["best", "floor"], lambda name: built[name], geometry=frame(0).geometry, tuning=EAGER
        )
        made.append(enhancer)
        return enhancer, built

    yield make
    for enhancer in made:
        enhancer.close()


def test_it_begins_at_the_bottom_and_changes_only_when_the_other_is_ready(
    governed: Callable[..., tuple[GovernedEnhancer, dict[str, Named]]],
) -> None:
    gate = threading.Event()
    enhancer, built = governed(best=gate)
    enhancer.watch = lambda: Watch(input_fps=30, dropped=0)
    assert [enhancer.submit([frame(pts)]).result()[0].duration for pts in range(5)] == [2] * 5
    gate.set()
    wait_for(lambda: enhancer.submit([frame(9)]).result()[0].duration == 1)
    assert (enhancer.network, enhancer.moved) == ("best", 1)
    assert enhancer.moves[0].before == "floor"
    assert len(built["best"].batches) >= 2, "it has enlarged a frame before the first that counts"


def test_a_batch_under_way_is_answered_by_the_network_that_took_it(
    governed: Callable[..., tuple[GovernedEnhancer, dict[str, Named]]],
) -> None:
    enhancer, _ = governed()
    early = enhancer.submit([frame(0)])
    enhancer.watch = lambda: Watch(input_fps=30, dropped=0)
    wait_for(lambda: enhancer.submit([frame(1)]).result()[0].duration == 1)
    assert early.result()[0].duration == 2
    assert early.result()[0].pts == 0


def test_at_a_new_size_the_others_are_made_ready_again(
    governed: Callable[..., tuple[GovernedEnhancer, dict[str, Named]]],
) -> None:
    enhancer, built = governed()
    enhancer.submit([frame(0, width=8)]).result()
    wait_for(lambda: any(batch[0].width == 8 for batch in built["best"].batches))
    assert enhancer.network == "floor"
    enhancer.watch = lambda: Watch(input_fps=30, dropped=0)
    wait_for(lambda: enhancer.submit([frame(1, width=8)]).result()[0].duration == 1)


@pytest.fixture
def workshop(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Semaphore, list[int]]:
    """What the workshop waits for before each measurement of the best, and the widths that it has begun with."""
    go, begun = threading.Semaphore(0), list[int]()
    make = enhancers._Workshop.make

    def wait_and_make(self: enhancers._Workshop, asked: enhancers._Asked) -> enhancers._Made:
        if asked.name == "best":
            begun.append(asked.geometry[0])
            assert go.acquire(timeout=20)
        return make(self, asked)

    monkeypatch.setattr(enhancers._Workshop, "make", wait_and_make)
    return go, begun


@pytest.mark.parametrize(
    ("widths", "measured"), [((8, 10, 12), [4, 12]), ((8, 4), [4, 4])], ids=["sizes in between", "there and back"]
)
def test_only_what_was_asked_last_is_measured_and_taken(
    governed: Callable[..., tuple[GovernedEnhancer, dict[str, Named]]],
    workshop: tuple[threading.Semaphore, list[int]],
    widths: Sequence[int],
    measured: Sequence[int],
) -> None:
    go, begun = workshop
    enhancer, _ = governed()
    enhancer.watch = lambda: Watch(input_fps=30, dropped=0)
    wait_for(lambda: len(begun) == 1)
    for width in widths:
        enhancer.submit([frame(0, width=width)]).result()
    go.release()
    wait_for(lambda: len(begun) == 2)
    # The first result is there, and the network is still in the workshop.
    assert [enhancer.submit([frame(pts, width=widths[-1])]).result()[0].duration for pts in range(5)] == [2] * 5
    assert begun == measured
    go.release()
    wait_for(lambda: enhancer.submit([frame(9, width=widths[-1])]).result()[0].duration == 1)


def test_a_network_that_cannot_be_built_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    def build(name: str) -> Named:
        if name == "best":
            raise WeightsError("the file is damaged")
        return Named(2)

    enhancer = GovernedEnhancer(["best", "floor"], build, geometry=frame(0).geometry, tuning=EAGER)
    enhancer.watch = lambda: Watch(input_fps=30, dropped=0)
    wait_for(lambda: "best cannot be used: the file is damaged" in caplog.text)
    assert enhancer.submit([frame(0)]).result()[0].duration == 2
    enhancer.close()
    assert "vsr-workshop" not in {thread.name for thread in threading.enumerate()}


# ----------------------------------------------------------------------------------------------------------- the ladder


def test_the_ladder_goes_from_dear_to_cheap_and_ends_without_a_network() -> None:
    assert ladder("ecbsr", scale=2) == ("ecbsr", "bicubic")
    assert ladder("espcn", scale=2) == ("espcn", "ecbsr", "bicubic")
    assert ladder("bicubic", scale=3) == ("bicubic",)


def test_what_stands_in_enlarges_luma_alone() -> None:
    """The cheaper and better srresnet takes RGB, which costs a conversion there and back."""
    assert ladder("rrdb", scale=4) == ("rrdb", "ecbsr", "bicubic")


def test_a_ladder_from_nowhere() -> None:
    with pytest.raises(UnknownModelError):
        ladder("nonesuch", scale=2)
    with pytest.raises(WeightsError):
        ladder("espcn-wide", scale=4)


def test_a_network_is_measured_as_on_pictures_that_all_differ(
    governed: Callable[..., tuple[GovernedEnhancer, dict[str, Named]]],
) -> None:
    _, built = governed()
    wait_for(lambda: built["best"].resets > 0)
    best = built["best"]
    wait_for(lambda: best.resets == len(best.batches) - 1)
