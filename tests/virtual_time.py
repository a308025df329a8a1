"""An event loop whose clock jumps to the next timer when everything is idle.

Real loopback sockets, the mock and the clients run in this one loop. Before the
clock moves, the kernel is drained: a byte that is already on its way is always
handled first, so a simulated day needs no real waiting and one seed gives one run.

Two traps are handled here. Work in a thread (``run_in_executor``) happens in real
time, so the clock stands still while any is under way. A loop with nothing to wait
for would hang for ever; it raises ``DeadlockError`` instead.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple


T = TypeVar("T")
Ts = TypeVarTuple("Ts")

DEADLOCK_AFTER_S = 5.0


class DeadlockError(RuntimeError):
    """No timer, no socket and no thread can wake the loop any more."""


class _JumpingSelector(selectors.DefaultSelector):
    """Never sleeps: where a selector would wait, the loop's clock jumps instead."""

    loop: VirtualTimeLoop

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.loop.threads_running:
            return super().select(0.01)
        if timeout is None:
            return self._wait_for_the_last_hope()
        self.loop.jump(timeout)
        return []

    def _wait_for_the_last_hope(self) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(DEADLOCK_AFTER_S)
        if not ready:
            raise DeadlockError("the loop waits for nothing that can still happen")
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A selector loop on virtual time, starting at 1,000 s."""

    def __init__(self) -> None:
        self._now_s = 1_000.0
        self.threads_running = 0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self._now_s

    def jump(self, seconds: float) -> None:
        """Move the clock; asyncio rounds, so a tiny step keeps it from spinning."""
        self._now_s += max(seconds, 1e-6)

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[*Ts], T],
        *args: *Ts,
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self.threads_running += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _future: asyncio.Future[Any]) -> None:
        self.threads_running -= 1


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on virtual time and hold it to a clean end.

    Raises:
        AssertionError: a task was left running, or an exception reached nobody.
    """
    complaints: list[str] = []
    loop = VirtualTimeLoop()
    loop.set_exception_handler(lambda _loop, context: complaints.append(str(context)))
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        result = runner.run(_and_settle(main))
    assert not complaints, f"exceptions that reached nobody: {complaints}"
    return result


async def _and_settle(main: Coroutine[Any, Any, T]) -> T:
    result = await main
    # Transports close one iteration after their owner has returned.
    await asyncio.sleep(0.1)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not left, f"tasks left running: {left}"
    return result
