"""loop_thread.py - an event loop in a thread of its own, for peers and clients that live beside a test."""

import asyncio
import threading


class LoopThread:
    """Runs coroutines for the test's own thread. A mistake in a callback of the loop is kept in `errors`."""

    def __init__(self):
        self.is_open = True
        self.loop = asyncio.new_event_loop()
        self.errors = []
        self.loop.set_exception_handler(self._note)
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def _note(self, _, context):
        # The loop itself sets a result of an accept that was cancelled in the same turn: no mistake of a callback of ours.
        is_late_accept = (
            isinstance(context.get("exception"), asyncio.InvalidStateError) and "_sock_accept" in context["message"]
        )
        if not is_late_accept:
            self.errors.append(context)

    def run(self, coroutine, seconds=60):
        """The value of the coroutine, waited for by another thread than the loop's."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(seconds)

    def call(self, function, *arguments):
        """Runs a plain function on the loop and returns its value."""

        async def wrapped():
            return function(*arguments)

        return self.run(wrapped())

    def close(self):
        async def cancel():
            tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.is_open = False
        try:
            self.run(cancel(), 10)
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(10)


_shared = None
_lock = threading.Lock()


def shared_loop():
    """The loop of every peer that was given none."""
    global _shared
    with _lock:
        if _shared is None:
            _shared = LoopThread()
        return _shared
