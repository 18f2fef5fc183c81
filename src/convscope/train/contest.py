"""Which way of executing a step is fastest here, found out in a small share of the time that the run will take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from convscope.train.bench import Bench, fitting, untouched_process
from convscope.train.probe import peak_macs
from convscope.train.trials import Entrant, Trial, difference
from convscope.train.way import Way

SHARE = 0.02
"""Of the run that the trial may take."""
FEWEST_STEPS = 500
"""In a shorter run not even the two steps that a trial begins with are sure to be within ``SHARE``: the first of a
small network, which starts threads and sets kernels up, takes as long as ten others."""
ROUNDS = (3, 7)
"""Timed steps of each way: at least, for a median; at most, where the time allows it and two are close."""
GAIN = 1.05
"""How much faster than a plainer one a way must be; less is not worth the difference in the numbers."""
BEHIND = (3.0, 2.0, 1.25)
"""A way is dropped when its fastest step is so many times slower than the best: after its first step, which also sets
things up; after one timed step; after more."""
PROBE = 0.2
"""Seconds that measuring the peak of the machine takes, at most."""
COMPILING = 5.0
"""Seconds; nothing compiles faster, so a run that could not gain as much is not compiled."""


class Contest:
    """Runs ways against each other, in turns, so that a machine that is busy for a while delays all of them alike.

    Args:
        bench: Takes the steps.
        reference: In float32; what others must agree with.
        steps: Of the run to come.
        portions: Batches as the bench has them that make up one of the run.

    Raises:
        RunError: A step in float32 does not fit in memory.
    """

    def __init__(self, bench: Bench, reference: Way, *, steps: int, portions: float = 1) -> None:
        self.bench = bench
        self.steps = steps * portions
        self._started = bench.clock()
        self.reference = Entrant(reference)
        self.entrants = [self.reference]
        with fitting(bench.batch[0]):
            self._wanted = bench.step(reference, comparable=True)  # the slower one: it starts threads, sets kernels up
            self.reference.first = self._wanted.seconds
            self.reference.seconds.append(bench.step(reference).seconds)

    @property
    def run_seconds(self) -> float:
        """What the whole run would take in float32."""
        return self.steps * self.reference.median

    @property
    def trials(self) -> tuple[Trial, ...]:
        """What is known of every way, plain float32 first."""
        return tuple(entrant.trial() for entrant in self.entrants)

    @property
    def tried(self) -> bool:
        """Whether anything but plain float32 was run."""
        return any(
            entrant.difference or entrant.note.startswith(("failed", "does not fit")) for entrant in self.entrants[1:]
        )

    @property
    def spent(self) -> float:
        """Seconds since the contest began."""
        return self.bench.clock() - self._started

    def affords(self, seconds: float) -> bool:
        """Whether so much more is within ``SHARE`` of the run."""
        return self.spent + seconds <= SHARE * self.run_seconds

    def settle(self, leader: Entrant | None, ways: Sequence[Way]) -> Entrant | None:
        """The fastest of a leader and those of ``ways`` that there is time for, in the order given.

        Args:
            leader: The fastest so far. None where one of ``ways`` was asked for; plain float32 then runs beside them,
                to compare with.
            ways: Challengers, the most promising first.

        Returns:
            Who agrees with float32 and is fastest, or plainer and within ``GAIN`` of that; None where nobody is left.
        """
        running = [leader or self.reference]
        for way in ways:
            entrant = Entrant(way)
            self.entrants.append(entrant)
            if not self.affords(self.reference.first + ROUNDS[0] * self.reference.median * (len(running) + 1)):
                entrant.note = "not tried: the run is too short for it"
            elif self._enter(entrant):
                running.append(entrant)
        if len(running) > 1:
            running = self._race(running)
        if leader is None:
            running = [entrant for entrant in running if entrant is not self.reference]
        if not running:
            return leader
        best = min(entrant.median for entrant in running)
        return min((entrant for entrant in running if entrant.median < GAIN * best), key=self._oddity)

    def _oddity(self, entrant: Entrant) -> tuple[bool, bool, bool]:
        """How far from what PyTorch does by itself; precision weighs most."""
        way, plain = entrant.way, self.reference.way
        return way.precision != plain.precision, way.memory_format != plain.memory_format, way.threads != plain.threads

    def rates(self, way: Way) -> dict[str, float | None]:
        """What speed is judged by, where there is time to find it out: the work of a step, the peak of the machine."""
        macs = peak = None
        if self.affords(2 * self.reference.median):
            macs = round(self.bench.macs(self.reference.way) / len(self.bench.batch[0]))
        if self.affords(PROBE):
            with untouched_process(torch.device(way.device)):
                way.settle()
                peak = peak_macs(way.device, way.precision, way.threads)
        return {"image_macs": macs, "peak_macs_per_second": peak, "trial_seconds": self.spent}

    def compile(self, way: Way) -> tuple[Way, str]:
        """The same compiled, if that works and the run is long enough to win back the time that it takes.

        Compiling was asked for, so it is tried whatever it takes of the run; but not where it cannot pay.

        Returns:
            The way to go, and why.
        """
        leader = next((entrant for entrant in self.entrants if entrant.way == way), None) or Entrant(way)
        expected = self.steps * min(leader.median, self.reference.median)
        if expected < COMPILING:
            return way, f"not compiled: the run takes {expected:.1f} s without"
        entrant = Entrant(replace(way, compiled=True))
        self.entrants.append(entrant)
        if not self._enter(entrant):
            return way, f"not compiled: {entrant.note}"
        running = self._race([leader, entrant], patient=True)
        takes = entrant.compile_seconds or 0.0
        gain = self.steps * (leader.median - entrant.median)
        if entrant in running and gain > takes:
            return entrant.way, f"compiled: {takes:.0f} s win back {gain:.0f} s"
        return way, f"not compiled: {takes:.0f} s would win back {max(gain, 0.0):.0f} s"

    def _enter(self, entrant: Entrant) -> bool:
        """Take a first step and compare it; whether it may be timed."""
        step = self.bench.attempt(entrant.way, comparable=True)
        if isinstance(step, str):
            entrant.note = step
            return False
        entrant.first, found = step.seconds, difference(step, self._wanted)
        if entrant.way.compiled:
            entrant.compile_seconds = step.seconds
        if not all(math.isfinite(value) for value in found):
            entrant.difference, entrant.note = found, "its loss or gradient is no finite number"
        elif entrant.way.compiled and self.bench.draws:
            pass  # compiled code draws other random numbers, so its dropout has dropped other units
        else:
            entrant.difference = found
            entrant.note = "" if entrant.agrees else "does not agree with float32"
        if not entrant.note and not entrant.way.compiled and step.seconds > BEHIND[0] * self.reference.first:
            entrant.note = f"far behind: its first step took {step.seconds:.3g} s"
        return not entrant.note

    def _race(self, running: list[Entrant], *, patient: bool = False) -> list[Entrant]:
        """Time each in turns until one is clearly ahead or the time is spent; who was not left behind."""
        for number in range(1, ROUNDS[1] + 1):
            turn = sum(entrant.median if entrant.seconds else self.reference.median for entrant in running)
            if len(running) == 1 or (number > ROUNDS[0] and not patient and not self.affords(turn)):
                break
            for entrant in running if number % 2 else reversed(running):
                step = self.bench.attempt(entrant.way)
                if isinstance(step, str):
                    entrant.note = step
                else:
                    entrant.seconds.append(step.seconds)
            running = [entrant for entrant in running if not entrant.note]
            if not running:
                break
            limit = min(entrant.median for entrant in running) * BEHIND[1 if number == 1 else 2]
            for entrant in running:
                entrant.note = "" if min(entrant.first, *entrant.seconds) <= limit else "dropped: far behind"
            running = [entrant for entrant in running if not entrant.note]
        return running
