"""Was a load ever dropped without the notice that its rule owes it?"""

from __future__ import annotations

from typing import Any

import numpy as np
from bms.core import protect, rules, switch

from solidbms.outcome import Outcome


def unannounced(outcome: Outcome) -> list[dict[str, Any]]:
    """Return each opening of the discharge gate that no rule without shed time, no request and no
    notice of full length explains: {t_ms, rules, notice_ms, shed_ms}.

    Notice runs from the tick in which the row acted to the gate. It may fall short by less than a
    tick, where the delay before it ended between two ticks (`bms.core.protect`).
    """
    record, tick_ms = outcome.record, outcome.compiled.file.tick_ms
    on = record["status.dsg_on"]
    found = []
    for k in np.flatnonzero((on[1:] == 0) & (on[:-1] == 1)) + 1:
        if _asked(record, k):
            continue
        short, cut = [], False
        for rule in outcome.compiled.rules:
            row = rule.row
            if row[rules.LEVEL] != rules.TRIP or not row[rules.PATH] & rules.DISCHARGE:
                continue
            if outcome.phases[rule.id][k] < protect.ACTED:
                continue
            if row[rules.SHED] == rules.CUT:
                cut = True
                break
            clear = np.flatnonzero(outcome.phases[rule.id][: k + 1] < protect.ACTED)
            acted = clear[-1] + 1 if len(clear) else 0
            notice_ms = int(outcome.t_ms[k] - outcome.t_ms[acted])
            if record[f"rule.{rule.id}.shed_ms"][k] >= rule.shed_ms:
                short.append((rule.id, notice_ms, rule.shed_ms))
        if cut or any(given > owed - tick_ms for _, given, owed in short):
            continue
        names = [name for name, _, _ in short]
        given, owed = max(((g, o) for _, g, o in short), default=(0, 0))
        found.append({"t_ms": int(outcome.t_ms[k]), "rules": names, "notice_ms": given,
                      "shed_ms": owed})  # fmt: skip
    return found


def _asked(record: Any, k: Any) -> bool:
    """Return whether somebody asked for it in this tick: open, ship, or the load's word."""
    codes = (switch.OPEN, switch.STORE, switch.ACK)
    seq = record["frame.req_seq"]
    fresh = k > 0 and seq[k] != seq[k - 1]
    return bool(fresh and record["frame.req_code"][k] in codes)


