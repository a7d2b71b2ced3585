/* The same on the machine that compiles it: Frames, each with what the slack wrote before it, on
   stdin, all states on stdout, tick by tick. */

#include <stdio.h>

#include "core.h"

int main(void)
{
    const size_t states = sizeof core - sizeof core.frame;
    int32_t words[SLACK_WORDS];
    while (fread(core.frame, sizeof core.frame, 1, stdin) == 1) {
        if (fread(words, sizeof words, 1, stdin) != 1)
            return 1;
        for (int k = 0; k < SLACK_WORDS; k++)
            core.signal[slack[k]] = words[k];
        protect();
        if (fwrite(core.signal, states, 1, stdout) != 1)
            return 1;
    }
    return 0;
}
