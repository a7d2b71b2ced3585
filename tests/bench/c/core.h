/* Frame to gates of one pack in C, word for word what firmware/bms/core does: the measure for it.

`declared.h` is generated (c_reference.py): the constants of the Python modules, the pack's fields
and the table of rules. A prefix names the module: F frame, P plausible, R rules, T protect,
W switch, X fixed; `P__VOLT` is its `_VOLT`. */

#ifndef CORE_H
#define CORE_H

#include <stdint.h>

typedef struct {
    int32_t limit, release;  /* turned so that larger is worse, as Protect does */
    int32_t delay_ms, shed_ms;
    uint8_t signal, bit, level, path, recovery, when, untrusted, shed, back;  /* bit: in P_TRUST */
    int8_t side;
    uint8_t at;  /* in `rule` of Core */
} Row;

#include "declared.h"

typedef struct {
    int32_t frame[FRAME_WORDS];
    int32_t signal[SIGNAL_WORDS];
    int32_t rule[T_STRIDE * ROWS];
    int32_t gates[SWITCH_WORDS];
    int32_t blocked, shed_left_ms, latched, warned, burn;  /* of Protect, of this tick */
    int32_t request;
} Core;

extern Core core;

/* From `core.frame`, and those of `core.signal` that the slack writes, to the state of the gates. */
void protect(void);

#endif
