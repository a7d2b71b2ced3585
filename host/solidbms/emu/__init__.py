"""An RP2040 that runs the user's own MicroPython image, on PyPI rp2040py 0.3.6.

No wall clock and no thread: whatever the host does happens at an emulated time, so that cycles,
nanoseconds and edges repeat exactly. `pico` is the machine, `chip` the mended RP2040, `pio` its
PIO blocks computed only when somebody looks, `pads` the pins, `usb` the host end of the cable,
`littlefs` the file system, `gates` the charge pumps behind the gate pins, `i2c` the bus to the
chip models.

Not modelled: the second core, flash wait states, DMA from and to PIO, another system clock than
125 MHz.
"""
