"""When the demo breaks the feed, and for how long it runs."""

from __future__ import annotations

from dataclasses import dataclass

from .text import seconds


# Noticing a freeze takes 9 s of silence, a question to REST, 2 s of doubt, and a new
# socket up to a second more; a cut is healed in 2.3 s at worst.
FREEZE_NEEDS_S = 15.0
CUT_NEEDS_S = 3.0
USUAL_FREEZE_AT_S = 8.0
USUAL_CUT_AT_S = 28.0
SHORTEST_WITH_BOTH_S = 20.0
SHORTEST_WITH_CUT_S = 6.0


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault: its name at the mock, when (s after the start), and what it means."""

    fault: str
    at_s: float
    meaning: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """The faults to come; `seconds` None runs until somebody ends it."""

    seconds: float | None
    faults: tuple[Planned, ...]

    def in_words(self) -> list[str]:
        """Say what will happen when."""
        lines = [f"at {seconds(f.at_s)}: {f.meaning}" for f in self.faults]
        if len(self.faults) < 2:
            lines.append(
                "too short a run to freeze the feed and see it heal: give it "
                f"{SHORTEST_WITH_BOTH_S:.0f} s or more for that"
            )
        if self.seconds is None:
            return [*lines, "Ctrl-C: the end, and a comparison with the ledger"]
        return [
            *lines,
            f"at {seconds(self.seconds)}: the end, and a comparison with the ledger",
        ]


def make_schedule(run_s: float | None) -> Schedule:
    """Place both faults so that they heal before the end, as far as there is time.

    In longer runs they come at `USUAL_FREEZE_AT_S` and `USUAL_CUT_AT_S`.
    """
    if run_s is None:
        return Schedule(None, (_freeze(USUAL_FREEZE_AT_S), _cut(USUAL_CUT_AT_S)))
    if run_s < SHORTEST_WITH_CUT_S:
        return Schedule(run_s, ())
    if run_s < SHORTEST_WITH_BOTH_S:
        return Schedule(run_s, (_cut(run_s - 2 * CUT_NEEDS_S + 1.0),))
    spare_s = run_s - SHORTEST_WITH_BOTH_S
    freeze_at_s = min(USUAL_FREEZE_AT_S, 2.0 + spare_s / 2)
    cut_at_s = min(USUAL_CUT_AT_S, 2.0 + FREEZE_NEEDS_S + 0.75 * spare_s)
    return Schedule(run_s, (_freeze(freeze_at_s), _cut(cut_at_s)))


def _freeze(at_s: float) -> Planned:
    return Planned(
        "freeze_pong", at_s, "the feed freezes: PONG is answered, nothing else comes"
    )


def _cut(at_s: float) -> Planned:
    return Planned("close_1006", at_s, "the connection is cut, without a closing frame")
