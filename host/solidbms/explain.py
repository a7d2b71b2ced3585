"""What a pack promises: its ledger, its time contract, what the chip makes of it, every error."""

from __future__ import annotations

from bms.core import rules

from solidbms import ledger, packc, watch
from solidbms.fronts import front
from solidbms.packc import DEAD_MAN_MS
from solidbms.packrules import Rule
from solidbms.schema import PLACEHOLDERS, CellFile, PackFile, shown

UNIT_WORDS = {"_v": "V", "_a": "A", "_c": "degC", "_s": "s", "_count": "",
              "_pct": "%", "_k_per_s": "K/s"}  # fmt: skip


def explain(name: str) -> tuple[str, bool]:
    """Return the text on a pack and whether it has no errors; BadInput for unreadable files."""
    file, cell, path = packc.load(name)
    compiled, errors = packc.examine(file, cell)
    lines = [
        f"{file.name}: {file.about or shown(path)}",
        f"  use {file.use}, {file.cells_in_series} x {cell.name} ({cell.chemistry}, "
        f"{cell.capacity.ah:g} Ah), front end {file.front_end.chip}",
        f"  tick {file.tick_ms} ms with a gate closed, {file.idle_tick_ms} ms with all open",
    ]
    if not errors:
        lines.append(f"  compiled: {len(compiled.blob)} bytes")
    if cell.limits.placeholders:
        lines.append(f"  limits of cell {cell.name}: {PLACEHOLDERS}")
    lines += ["", "Ledger", *(f"  {line}" for line in ledger_lines(file, cell, compiled.rules))]
    lines += [
        "",
        "Time contract: worst case from the crossing to the gate = signal age + delay + shed + "
        "2 ticks",
        f"  {'rule':<15}{'level':<6}{'path':<10}{'trips':<23}{'releases':<14}{'age':>6}"
        f"{'delay':>8}{'shed':>8}{'promise':>9}  recovery",
    ]
    lines += [_row(rule, file) for rule in compiled.rules]
    lines += [
        "  times in ms; with every gate open a tick is longer and nothing flows; a signal made in "
        "the slack is a tick older",
        *absent_lines(file),
        "",
        "What the front end makes of it",
    ]
    lines += [f"  {text}" for text in front(file).explain(compiled.rules, file)]
    if errors:
        lines += ["", f"Does not arm: {len(errors)} error{'s' * (len(errors) > 1)}"]
        lines += [f"  {shown(path)}: {error}" for error in errors]
    return "\n".join(lines), not errors


def ledger_lines(file: PackFile, cell: CellFile, pack_rules: list[Rule]) -> list[str]:
    """Return what a pack lacks and has, what was tightened for it, what a power cut loses."""
    present = {rule.id for rule in pack_rules}
    lines = [f"has {part.name}" + (f", which rests on {part.rests_on}" if part.rests_on else "")
             for part in ledger.having(file)]  # fmt: skip
    lines += [
        f"lacks {part.name}: stands in: {ledger.stand_ins(part, file, present)}; "
        f"remains: {part.cost}"
        for part in ledger.missing(file)
    ]
    lines += [
        f"tightened: rules.{rule} at most {highest:g} ({why}); attended use only"
        for rule, highest, why in ledger.tightened(file, cell.limits.model_dump())
    ]
    return [*lines, *(f"a power cut loses: {what}" for what in ledger.LOST)]


def absent_lines(file: PackFile) -> list[str]:
    """Return the rows that this pack does without, by the reason."""
    reasons: dict[str, list[str]] = {}
    for row in rules.ROWS:
        reason = watch.absent(row, file)
        if reason:
            reasons.setdefault(reason, []).append(row[rules.ID])
    return [f"  without {', '.join(names)}: {reason}" for reason, names in reasons.items()]


def _row(rule: Rule, file: PackFile) -> str:
    row = rule.row
    tick_ms = file.tick_ms
    suffix, factor = packc.unit_of(row)
    unit = UNIT_WORDS[suffix]
    side = ">" if row[rules.SIDE] > 0 else "<"
    name = rule.signal.rsplit("_", 1)[0]
    trips = f"{name} {side} {rule.limit / factor:g} {unit}".rstrip()
    releases = f"{rule.release / factor:g} {unit}".rstrip()
    recovery = rules.RECOVERIES[row[rules.RECOVERY]]
    if row[rules.RECOVERY] == rules.LOAD_GONE and not front(file).SEES_LOAD:
        recovery += " (this front end cannot see it: by hand)"
    if rule.signal == "overrun_ms" and file.parts.dead_man and rule.limit >= DEAD_MAN_MS - tick_ms:
        recovery += " (with a gate closed the dead-man is quicker: gate_dropped, without notice)"
    when = "" if row[rules.WHEN] == rules.ALWAYS else f", watched: {rules.WHENS[row[rules.WHEN]]}"
    return (
        f"  {rule.id:<15}{rules.LEVELS[row[rules.LEVEL]]:<6}{rules.PATHS[row[rules.PATH]]:<10}"
        f"{trips:<23}{releases:<14}{rule.age_ms:>6}{rule.delay_ms:>8}{rule.shed_ms:>8}"
        f"{rule.promise_ms(tick_ms):>9}  {recovery}{when}"
    )

