"""What MicroPython has and CPython lacks, under the same names.

`const` folds at compile time on MicroPython and is the identity elsewhere. `heap_lock` makes an
allocation an error on MicroPython; CPython cannot forbid allocation, there it does nothing.
`collect` is needed where garbage waits for a collector: CPython counts references and does not.
`sleep_ms` is a coroutine for asyncio.
"""

try:
    # The stand-ins below are a little looser than what the checker knows of MicroPython.
    from gc import collect  # type: ignore - on MicroPython alone

    from micropython import const, heap_lock, heap_unlock  # type: ignore - on MicroPython alone
except ImportError:

    def const(expr):
        """Return the value: CPython folds nothing."""
        return expr

    def heap_lock():
        """Do nothing: CPython cannot lock its heap."""

    def heap_unlock():
        """Do nothing: see `heap_lock`."""
        return 0

    def collect():
        """Do nothing: nothing here makes cycles."""
        return 0


async def sleep_ms(ms):
    """Let other tasks run for so long."""
    import asyncio  # only who uses it pays for it

    try:
        sleep = asyncio.sleep_ms  # type: ignore - on MicroPython alone
    except AttributeError:
        await asyncio.sleep(ms / 1000)
    else:
        await sleep(ms)
