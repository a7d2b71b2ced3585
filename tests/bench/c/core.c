/* See core.h. In the order of the Python modules: plausible, protect, switch, core. */

#include <stdbool.h>

#include "core.h"

Core core = {.signal = FIRST_SIGNALS, .gates = FIRST_GATES};

static int32_t smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static int32_t clamp(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* The Frame's time may be any 32 bits: unsigned, so that the difference may wrap. */
static int32_t ticks_diff(int32_t a_ms, int32_t b_ms)
{
    int32_t d = (int32_t)(((uint32_t)a_ms - (uint32_t)b_ms) & X_TICKS_MAX);
    return d >= X__TICKS_HALF ? d - X__TICKS_HALF - X__TICKS_HALF : d;
}

/* plausible.py */

static int32_t step_time(int32_t *v, int32_t t_ms, int32_t period_ms)
{
    int32_t dt = v[P__STARTED] ? ticks_diff(t_ms, v[P__LAST_MS]) : period_ms;
    v[P__STARTED] = 1;
    v[P__LAST_MS] = t_ms;
    v[P_OVERRUN_MS] = clamp(dt - period_ms, 0, P_LOST_MAX_MS);
    dt = dt > 0 ? smaller(dt, P_DT_MAX_MS) : period_ms;
    v[P_DT_MS] = dt;
    return dt;
}

static bool voltages(int32_t *v, const int32_t *f)
{
    if (!(f[F_FLAGS] & F_VOLT_OK))
        return false;
    int32_t low = f[F_CELL0], high = low;
    for (int k = 1; k < CELLS; k++) {
        int32_t x = f[F_CELL0 + k];
        if (x < low)
            low = x;
        else if (x > high)
            high = x;
    }
    if (low < P__SANE_UV || high >= X_BIG || f[F_PACK_UV] < 0 || f[F_PACK_UV] >= X_BIG)
        return false;
    v[P_CELL_MIN_UV] = low;
    v[P_CELL_MAX_UV] = high;
    return true;
}

static bool temperatures(int32_t *v, const int32_t *f)
{
    int32_t low = P__TEMP_MAX_MDEGC, high = -P__TEMP_MAX_MDEGC, bit = F_TEMP_OK;
    for (int k = 0; k < TEMPS; k++, bit <<= 1) {
        int32_t x = f[F_CELL0 + CELLS + k];
        if (!(f[F_FLAGS] & bit) || x <= -P__TEMP_MAX_MDEGC || x >= P__TEMP_MAX_MDEGC)
            return false;
        if (x < low)
            low = x;
        if (x > high)
            high = x;
    }
    v[P_TEMP_MAX_MDEGC] = high;
    v[P_TEMP_MIN_MDEGC] = low;
    return true;
}

static void steady(int32_t *v, int32_t resets, bool fresh, int32_t dt)
{
    int32_t unsteady = v[P_FE_UNSTEADY_MS];
    if (fresh && !unsteady && resets == v[P__RESETS])
        return;
    if (resets != v[P__RESETS]) {
        v[P__RESETS] = resets;
        unsteady += P__RESET_MS;
    }
    unsteady += fresh ? -dt >> 2 : dt;
    v[P_FE_UNSTEADY_MS] = clamp(unsteady, 0, P_LOST_MAX_MS);
}

static bool sane_mdegc(int32_t x)
{
    return -P__TEMP_MAX_MDEGC < x && x < P__TEMP_MAX_MDEGC;
}

static int32_t beside(int32_t *v, const int32_t *f)
{
    int32_t trust = P__FET | P__BOARD;
    if (PACK_HAS_FET) {
        if (f[F_FLAGS] & F_FET_TEMP_OK && sane_mdegc(f[F_FET_MDEGC]))
            v[P_FET_MDEGC] = f[F_FET_MDEGC];
        else
            trust &= ~P__FET;
    }
    if (PACK_HAS_BOARD) {
        if (f[F_FLAGS] & F_BOARD_TEMP_OK && sane_mdegc(f[F_BOARD_MDEGC]))
            v[P_BOARD_MDEGC] = f[F_BOARD_MDEGC];
        else
            trust &= ~P__BOARD;
    }
    return trust;
}

static void plausible(int32_t *v, const int32_t *f, int32_t period_ms)
{
    int32_t dt = step_time(v, f[F_T_MS], period_ms);
    int32_t trust = P__ALWAYS;
    bool fresh = voltages(v, f);
    if (fresh) {
        trust |= P__VOLT;
        v[P_PACK_UV] = f[F_PACK_UV];
    }
    int32_t current = f[F_CURRENT_UA];
    if (f[F_FLAGS] & F_CURRENT_OK && -X_BIG < current && current < X_BIG) {
        trust |= P__CURRENT | P__CHARGE_OVER;
        v[P_CHARGE_UA] = current;
        v[P_DISCHARGE_UA] = -current;
        v[P_CHARGE_OVER_UA] = clamp(current, 0, P__HALF) - v[P_CHARGE_LIMIT_UA];
    } else {
        fresh = false;
    }
    if (temperatures(v, f))
        trust |= P__TEMP;
    trust |= beside(v, f);
    if ((trust & P__EVERY_TEMP) == P__EVERY_TEMP)
        v[P_TEMP_LOST_MS] = 0;
    else
        v[P_TEMP_LOST_MS] = smaller(v[P_TEMP_LOST_MS] + dt, P_LOST_MAX_MS);
    v[P_FE_LOST_MS] = fresh ? 0 : smaller(v[P_FE_LOST_MS] + dt, P_LOST_MAX_MS);
    steady(v, f[F_FE_RESETS], fresh, dt);
    v[P_FEATURES_LOST] = (f[F_FLAGS] & F_FEATURE_LOST) != 0;
    v[P_GATES_DROPPED] = (f[F_FLAGS] & F_GATE_DROPPED) != 0;
    v[P_SHORTS] = (f[F_FLAGS] & F_SHORTED) != 0;
    v[P_TRUST] = trust;
}

/* protect.py; v: phase, timer and time since acted of one row */

static int32_t toward_trip(int32_t *v, bool crossed, int32_t dt, int32_t delay_ms, bool back)
{
    if (!crossed) {
        v[1] = back && v[1] > dt >> 1 ? v[1] - (dt >> 1) : 0;
        return v[1] ? T_PENDING : T_CLEAR;
    }
    v[1] = v[0] == T_PENDING ? v[1] + dt : 0;
    return v[1] < delay_ms ? T_PENDING : T_ACTED;
}

static int32_t toward_clear(int32_t *v, bool inside, int32_t dt, bool done)
{
    if (!inside) {
        v[1] = 0;
        return T_ACTED;
    }
    v[1] = v[0] == T_RELEASING ? smaller(v[1] + dt, PACK_RECOVER_MS) : 0;
    if (v[1] < PACK_RECOVER_MS || !done)
        return T_RELEASING;
    v[1] = 0;
    return T_CLEAR;
}

static bool recovered(int recovery, const int32_t *sig, int32_t flags, bool cleared)
{
    if (recovery == R_SELF)
        return true;
    if (recovery == R_CHARGER)
        return sig[P_TRUST] >> P_CHARGE_UA & 1 && sig[P_CHARGE_UA] > PACK_CHARGER_UA;
    if (recovery == R_LOAD_GONE && flags & F_LOAD_GONE)
        return true;
    return cleared;
}

static void act(const Row *row, int32_t shed_left_ms)
{
    if (row->level != R_TRIP) {
        if (row->level == R_WARN)
            core.warned = true;
        else if (row->level == R_BURN)
            core.burn = true;
        return;
    }
    if (row->shed == R_SHEDS && shed_left_ms > 0) {
        core.warned = true;
        if (core.shed_left_ms == T_NO_SHED || shed_left_ms < core.shed_left_ms)
            core.shed_left_ms = shed_left_ms;
        return;
    }
    core.blocked |= row->path;
    if (row->path & R_DISCHARGE && (row->shed == R_SHEDS || row->recovery >= R_LOAD_GONE))
        core.latched |= row->path;
}

/* What every row of a tick is judged by. */
typedef struct {
    const int32_t *sig;
    int32_t flags;
    bool closed, at_once, cleared;
} Tick;

/* Apart from the loop: inlined, its needs for registers slow down the rows with nothing to do. */
__attribute__((noinline)) static void row_step(const Row *row, int32_t *v, const Tick *t)
{
    int32_t phase = v[0], dt = t->sig[P_DT_MS], x = t->sig[row->signal] * row->side;
    bool crossed, inside;
    if (!t->closed && row->when == R_CLOSED) {
        crossed = false;
        inside = true;
    } else if (t->sig[P_TRUST] >> row->bit & 1) {
        crossed = x > row->limit;
        inside = x <= row->release;
    } else {
        crossed = phase == T_PENDING || row->untrusted == R_CROSSED;
        inside = false;
    }
    if (phase == T_CLEAR && !crossed)
        return;
    if (phase < T_ACTED) {
        phase = toward_trip(v, crossed, dt, row->delay_ms, row->back);
        if (phase == T_ACTED) {
            v[2] = t->at_once ? row->shed_ms : v[1] - row->delay_ms;
            v[1] = 0;
        }
    } else {
        bool done = recovered(row->recovery, t->sig, t->flags, t->cleared);
        phase = toward_clear(v, inside, dt, done);
        if (v[2] < row->shed_ms)
            v[2] = t->at_once ? row->shed_ms : v[2] + dt;
    }
    v[0] = phase;
    if (phase >= T_ACTED)
        act(row, row->shed_ms - v[2]);
}

static void rules_step(const Tick *t)
{
    const int32_t *sig = t->sig;
    bool all_trusted = sig[P_TRUST] == P_ALL_TRUSTED;
    core.blocked = 0;
    core.shed_left_ms = T_NO_SHED;
    core.latched = 0;
    core.warned = core.burn = false;
    for (const Row *row = rows; row < rows + USED; row++) {
        int32_t *v = core.rule + row->at;
        if (!all_trusted || v[0] || sig[row->signal] * row->side > row->limit)
            row_step(row, v, t);
    }
}

/* switch.py */

static int32_t take_request(int32_t *v, const int32_t *f)
{
    if (f[F_REQ_SEQ] == v[W__LAST_SEQ])
        return W_NONE;
    v[W__LAST_SEQ] = f[F_REQ_SEQ];
    if (f[F_REQ_CODE] == W_OPEN || (0 <= f[F_REQ_AGE_MS] && f[F_REQ_AGE_MS] <= W_REQUEST_MAX_MS))
        return f[F_REQ_CODE];
    return W_NONE;
}

static int32_t boot(int32_t *v, int32_t flags, int32_t trust)
{
    bool good = (flags & W__BOOT_OK) == W__BOOT_OK && trust == P_ALL_TRUSTED;
    v[W__BOOT_TICKS] = good ? v[W__BOOT_TICKS] + 1 : 0;
    return v[W__BOOT_TICKS] >= W_BOOT_FRAMES ? W_OFF : W_BOOT;
}

static int32_t running(int32_t *v, int32_t flags, int32_t state, int32_t request)
{
    if (core.blocked & R_DISCHARGE) {
        v[W_LATCHED] |= core.latched;
        return W_TRIPPED;
    }
    if (v[W_LATCHED]) {
        if (request != W_CLOSE)
            return v[W_LATCHED] & R_CHARGE ? W_OFF : W_TRIPPED;
        v[W_LATCHED] = 0;
        if (PACK_PRE_DISCHARGE)
            return W_PRE;
    }
    if (PACK_PRE_DISCHARGE
        && (state == W_TRIPPED || (state == W_PRE && !(flags & F_DSG_SHOWN))))
        return W_PRE;
    return core.shed_left_ms == T_NO_SHED ? W_ON : W_SHEDDING;
}

static int32_t closing(int32_t blocked)
{
    if (blocked == R_BOTH)
        return W_OFF;
    if (blocked & R_DISCHARGE)
        return W_TRIPPED;
    return PACK_PRE_DISCHARGE ? W_PRE : W_ON;
}

static bool closed_state(int32_t state)
{
    return state == W_ON || state == W_SHEDDING || state == W_PRE;
}

/* Memory that loses a bit is no part of the measured work: a pack that is off stays off. */
static void mend(int32_t *v)
{
    v[W_LATCHED] = closed_state(v[W_STATE]) ? 0 : R_BOTH;
    v[W_FUSE] &= ~v[W_KEPT] >> 2 & 1;
}

static void switch_step(int32_t *v, int32_t flags, int32_t trust, int32_t request)
{
    int32_t state = v[W_STATE], blocked = core.blocked;
    if (v[W_KEPT] != ~(v[W_LATCHED] | v[W_FUSE] << 2))
        mend(v);
    if (state == W_BOOT) {
        state = boot(v, flags, trust);
    } else if (request == W_OPEN) {
        state = W_OFF;
    } else if (request == W_STORE) {
        state = W_SHIP;
    } else if (state == W_OFF) {
        if (request == W_CLOSE)
            state = closing(blocked);
    } else if (state != W_SHIP) {
        state = running(v, flags, state, request);
    }
    if (request == W_CLOSE && !closed_state(state))
        v[W_REFUSED] = (v[W_REFUSED] + 1) & 0xFFFF;
    if (state == W_OFF || state == W_SHIP)
        v[W_LATCHED] = 0;
    if (core.burn)
        v[W_FUSE] = 1;
    v[W_KEPT] = ~(v[W_LATCHED] | v[W_FUSE] << 2);
    v[W_STATE] = state;
    blocked |= v[W_LATCHED];
    bool live = W_ON <= state && state <= W_TRIPPED;
    v[W_CHG_ON] = live && !(blocked & R_CHARGE);
    live = (live && state != W_TRIPPED) || state == W_PRE;
    v[W_DSG_ON] = live && !(blocked & R_DISCHARGE);
}

/* core.py */

void protect(void)
{
    int32_t *w = core.gates, flags = core.frame[F_FLAGS];
    bool closed = w[W_CHG_ON] | w[W_DSG_ON], loaded = w[W_DSG_ON];
    bool fast = closed || w[W_STATE] == W_BOOT;
    plausible(core.signal, core.frame, fast ? PACK_TICK_MS : PACK_IDLE_TICK_MS);
    int32_t request = core.request = take_request(w, core.frame);
    /* With discharge open there is nobody to warn: a shed is over as it begins. */
    bool at_once = request == W_ACK || !loaded;
    rules_step(&(Tick){core.signal, flags, closed, at_once, request == W_CLEAR});
    switch_step(w, flags, core.signal[P_TRUST], request);
}
