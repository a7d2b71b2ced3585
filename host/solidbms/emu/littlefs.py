"""Files into a littlefs image as MicroPython mounts it on a Pico, and back."""

from __future__ import annotations

from littlefs import LittleFS, UserContext

START = 0xA0000  # in flash: ports/rp2/boards/RPI_PICO, 1408 kB at the end of 2 MB
BLOCK = 4096
BLOCKS = 352
SIZE = BLOCK * BLOCKS
# Written as 2.0: with 2.1, littlefs-python's own choice, MicroPython 1.21 hangs. Read as any.
_WRITTEN = 0x00020000
_ANY = 0


def _fs(buffer: bytearray, version: int) -> LittleFS:
    context = UserContext(buffer=buffer)
    return LittleFS(
        context=context,
        mount=False,  # it would format what does not mount
        block_size=BLOCK,
        block_count=BLOCKS,
        prog_size=256,
        disk_version=version,
    )


def image(files: dict[str, bytes]) -> bytes:
    """Return an image that holds these files (path with / to content)."""
    buffer = bytearray(b"\xff" * SIZE)
    fs = _fs(buffer, _WRITTEN)
    fs.format()
    fs.mount()
    for path, data in files.items():
        folder = path.rpartition("/")[0]
        if folder:
            fs.makedirs(folder, exist_ok=True)
        with fs.open(path, "wb") as file:
            file.write(data)
    fs.unmount()
    return bytes(buffer)


def files(blob: bytes) -> dict[str, bytes]:
    """Return the files of an image; littlefs.LittleFSError when it holds no file system."""
    fs = _fs(bytearray(blob), _ANY)
    fs.mount()
    found = {}
    for folder, _, names in fs.walk("/"):
        for name in names:
            path = f"{folder.rstrip('/')}/{name}".lstrip("/")
            with fs.open(path, "rb") as file:
                found[path] = file.read()
    fs.unmount()
    return found
