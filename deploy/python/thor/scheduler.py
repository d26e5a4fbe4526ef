"""Functions that the reactor runs again and again."""

from twisted.internet import reactor
from twisted.logger import Logger
from twisted.python import threadable

__all__ = 'KeepRunning', 'RecurrentCall', 'in_reactor'

log = Logger('thor')


class KeepRunning:
    """What a function returns that is to be called again after the period."""


def in_reactor(function, *args, **kwargs):
    """Call the function in the reactor's thread: at once if this is it."""
    if threadable.isInIOThread():
        function(*args, **kwargs)
    else:
        reactor.callFromThread(function, *args, **kwargs)


class RecurrentCall:
    """Calls function each period, in seconds, while it returns KeepRunning.

    The first call is one period from now. An exception is logged and counts as
    KeepRunning: what runs for ever does not end by one failure. It may be made and
    cancelled in any thread.
    """

    def __init__(self, period, function, *args, **kwargs):
        self.period = period
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self._due = None
        self._timer = None
        self._cancelled = False
        in_reactor(self._begin)

    def _begin(self):
        if not self._cancelled:
            self._due = reactor.seconds() + self.period
            self._timer = reactor.callLater(self.period, self._call)

    def _call(self):
        self._timer = None
        try:
            again = self.function(*self.args, **self.kwargs)
        except Exception:
            log.failure('recurrent call failed')
            again = KeepRunning
        if again is KeepRunning and not self._cancelled:
            now = reactor.seconds()
            self._due = max(self._due + self.period, now)  # what was late is not made up for
            self._timer = reactor.callLater(self._due - now, self._call)

    def cancel(self):
        """End the calls. A second time it does nothing."""
        self._cancelled = True
        in_reactor(self._end)

    def _end(self):
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
