"""The progress of a long run: a bar on a terminal, elsewhere a line a minute."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_SECONDS = 60.0  # between lines, where there is no terminal
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ProgressWatch:
    """Shows the batches of a training or a test, and stops after one when a signal arrives.

    Args:
        out: where an epoch's result goes.
        err: where the progress goes.
    """

    def __init__(self, out: Console, err: Console) -> None:
        self.out = out
        self.err = err
        self.asked = False
        self.bar: Progress | None = None
        self.what, self.total, self.done = "", 0, 0
        self.images, self.since, self.told = 0, 0.0, time.monotonic()

    def say(self, text: str) -> None:
        """Say what is being done now."""
        self.err.print(text, style="dim", highlight=False)

    @contextlib.contextmanager
    def heeding(self) -> Iterator[None]:
        """Let a signal stop the run after its step; a second one ends it at once."""
        before = {number: signal.getsignal(number) for number in SIGNALS}

        def ask(number: int, frame: FrameType | None) -> None:
            self.asked = True
            for again, handler in before.items():
                signal.signal(again, handler)
            self.err.print(
                f"{signal.Signals(number).name}: stopping after this step; "
                "send it again to stop at once, at the last checkpoint"
            )

        try:
            for number, handler in before.items():
                if handler is not signal.SIG_IGN:  # as under nohup
                    signal.signal(number, ask)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self._close()

    def stop(self) -> bool:
        """Return whether a signal has arrived."""
        return self.asked

    def begin(self, what: str, total: int, done: int) -> None:
        """Begin a stretch of `total` batches, `done` of which were done earlier."""
        self._close()
        self.what, self.total, self.done = what, total, done
        self.images, self.since = 0, time.monotonic()
        if self.err.is_terminal:
            self.bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                TextColumn("{task.fields[said]}"), TimeRemainingColumn(),
                console=self.err, transient=True,
            )  # fmt: skip
            self.task = self.bar.add_task(what, total=total, completed=done, said="")
            self.bar.start()

    def step(self, images: int, loss: float) -> None:
        """Show that a batch of `images` images is done; `loss` is the mean so far."""
        self.done, self.images = self.done + 1, self.images + images
        now = time.monotonic()
        rate = self.images / max(now - self.since, 1e-9)
        said = f"{rate:.1f} images/s  loss {loss:.4f}"
        if self.bar is not None:
            self.bar.update(self.task, completed=self.done, said=said)
        elif now - self.told >= LINE_SECONDS:
            self.told = now
            left = (self.total - self.done) * images / rate
            text = f"{self.what}  {self.done}/{self.total}  {said}  {_duration(left)} left"
            self.err.print(text, highlight=False)

    def end(self, record: dict[str, Any]) -> None:
        """Show the result of an epoch."""
        self._close()
        self.out.print(
            f"epoch {record['epoch']:2d}   loss {record['train_loss']:.4f}   "
            f"training {record['train_accuracy']:.4f}   test {record['test_accuracy']:.4f} "
            f"({record['test_right']:,} of {record['test_images']:,})   "
            f"{_duration(record['train_seconds'] + record['test_seconds'])}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
