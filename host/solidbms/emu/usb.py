"""The host's end of the USB cable: the board's serial port, in and out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rp2040py.usb.cdc import USBCDC

if TYPE_CHECKING:
    from solidbms.emu.chip import Chip


class Cable(USBCDC):
    """A host that has opened the board's port.

    rp2040py answers an armed OUT endpoint at once with an empty packet, 100,000 times a second,
    and the CPU never idles. A host has nothing to say then: here the transfer waits for data.
    """

    def __init__(self, chip: Chip, hear: Callable[[bytes], None]) -> None:
        super().__init__(chip.usb_ctrl)
        self.connected = False
        self._waiting = bytearray()
        self._armed: tuple[int, int] | None = None
        self._answer = chip.usb_ctrl.on_endpoint_read
        chip.usb_ctrl.on_endpoint_read = self._asked
        self.on_serial_data = lambda data: hear(bytes(data))
        self.on_device_connected = self._opened

    def _opened(self) -> None:
        self.connected = True

    def send(self, data: bytes) -> None:
        """Send to the board; it takes up to 64 bytes a packet, as it finds room."""
        self._waiting += data
        self._flush()

    def _asked(self, endpoint: int, size: int) -> None:
        if endpoint != self._out_endpoint:
            assert self._answer
            self._answer(endpoint, size)
            return
        self._armed = endpoint, size
        self._flush()

    def _flush(self) -> None:
        if self._armed and self._waiting:
            endpoint, size = self._armed
            self._armed = None
            packet = bytes(self._waiting[:size])
            del self._waiting[:size]
            self.usb.endpoint_read_done(endpoint, packet)

    def _on_controller_reset(self) -> None:
        super()._on_controller_reset()
        self.connected = False
        self._armed = None
        self._waiting.clear()
