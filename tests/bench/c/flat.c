/* Start of the flat binary: what the runner must know, in place of a vector table. */

#include "core.h"

extern char stack_top;

__attribute__((section(".start"), used)) const void *const start[] = {
    &stack_top, (const void *)protect, &core,
};
