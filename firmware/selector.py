# solidbms selector: lies on the board as main.py and starts one of two code slots.
"""Starts the slot that the file `slot` names, or the other one if that is not whole or failed.

`slot` is one line: "b" runs b; "b a" tries b once and "b a tried" has done so, with a to fall back
to ("-": with nothing), until b has passed its boot test; "a b failed WHY" runs a.
Every change is a new file renamed over the old one, so a power cut leaves one or the other.
"""

import os
import sys
from binascii import crc32


def read():
    """Return the words of `slot`, at most four; none when it is missing or garbled."""
    try:
        with open("slot", "rb") as file:
            words = file.read(400).decode().split(None, 3)
    except (OSError, ValueError):
        return []
    return words if words and words[0] in ("a", "b") else []


def write(line):
    """Replace `slot`."""
    with open("slot.new", "w") as file:
        file.write(line + "\n")
    os.rename("slot.new", "slot")


def note(line):
    """Replace `slot`; return whether that worked: a full file system stops nobody."""
    try:
        write(line)
    except OSError:
        return False
    return True


def whole(slot):
    """Return whether every file of a slot is there as its manifest says."""
    root = "slots/%s/" % slot
    buffer = memoryview(bytearray(2048))
    try:
        with open(root + "manifest") as manifest:
            for line in manifest:
                crc, size, path = line.rstrip().split(" ", 2)
                if crc == "end":
                    return line.endswith("\n")
                found = 0
                length = 0
                with open(root + path, "rb") as file:
                    while True:
                        n = file.readinto(buffer)
                        if not n:
                            break
                        found = crc32(buffer[:n], found)
                        length += n
                if length != int(size) or found != int(crc, 16):
                    return False
    except (OSError, ValueError):
        pass
    return False


def choose():
    """Return (slot to start or None, whether it is on trial, slot to fall back to or None).

    `slot` is brought up to date: what has something to fall back to is marked before it starts.
    """
    words = read()
    first = words[0] if words else "a"
    other = "a" if first == "b" else "b"
    trial = len(words) > 1 and words[2:3] != ["failed"]
    spare = trial and words[1] == other
    sound = whole(first)
    if not sound:
        why = "is not whole"
    elif not spare:
        return first, trial, None
    elif words[2:]:
        why = "did not pass its boot test before the next start"
    elif note("%s %s tried" % (first, other)):
        return first, True, other
    else:
        why = "could not be marked as tried"
    if whole(other):
        note("%s %s failed %s" % (other, first, why))
        return other, False, None
    return (first if sound else None), trial, None


def reset():
    """Start the board anew."""
    import machine

    machine.reset()


def main():
    """Start a slot; return to the console when there is none or its program ends."""
    slot, trial, spare = choose()
    if not slot:
        print("solidbms: no slot is whole; `make flash` writes one")
        return

    def fall_back(why):
        note("%s %s failed %s" % (spare, slot, why))
        reset()

    def commit(passed):
        nonlocal trial, spare
        if passed:
            # From here on a crash is no reason to give the slot up.
            if trial:
                note(slot)
            trial = spare = None
        elif spare:
            fall_back("did not pass its boot test")

    sys.path.insert(0, "slots/" + slot)
    try:
        import start  # pyright: ignore[reportMissingImports] - of the slot

        start.main(commit)
    except Exception as error:
        sys.print_exception(error)
        why = ("crashed: %r" % error)[:80]
        if spare:
            fall_back(why)
        elif trial:
            note("%s - tried %s" % (slot, why))


if __name__ == "__main__":
    main()
