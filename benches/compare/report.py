"""The results as JSON and as a Markdown table."""

import os
import platform
import statistics
from datetime import datetime, timezone
from pathlib import Path


def summary(groups, systems, values, rounds: int, load_before: float) -> dict:
    """Everything measured: `values[row key][system name]` lists one value a round."""
    baseline = systems[0].name
    rows = [row_summary(row, values[row.key], baseline) for g in groups for row in g.rows]
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "machine": machine(),
        "load_before": load_before,
        "rounds": rounds,
        "baseline": baseline,
        "versions": {system.name: system.version() for system in systems},
        "rows": rows,
    }


def row_summary(row, by_system: dict, baseline: str) -> dict:
    systems = {}
    for name, values in by_system.items():
        known = [value for value in values if value is not None]
        systems[name] = {
            "values": values,
            "median": statistics.median(known) if known else None,
            "ratio": ratio(values, by_system.get(baseline, [])) if row.ratio else None,
        }
    better = "more" if row.more_is_better else "less"
    return {
        "key": row.key,
        "label": row.label,
        "better": better,
        "digits": row.digits,
        "systems": systems,
    }


def ratio(values, baseline) -> dict | None:
    """The ratios to the baseline of the same round."""
    pairs = zip(values, baseline)
    ratios = [value / base for value, base in pairs if value is not None and base]
    if not ratios:
        return None
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


def markdown(result: dict) -> str:
    names = list(result["versions"])
    heads = [f"{name} {result['versions'][name]}" for name in names]
    lines = [
        f"{result['date']}, {result['machine']}, load average {result['load_before']:.1f} "
        f"before the run. Median of {result['rounds']} rounds; "
        f"in parentheses the ratio to {result['baseline']} of the same round: "
        "median, minimum to maximum.",
        "",
        "| | better | " + " | ".join(heads) + " |",
        "|---|---|" + "---|" * len(names),
    ]
    for row in result["rows"]:
        cells = [cell(row, name, result["baseline"]) for name in names]
        lines.append(f"| {row['label']} | {row['better']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(row: dict, name: str, baseline: str) -> str:
    measured = row["systems"].get(name)
    if measured is None:
        return ""
    if measured["median"] is None:
        return "failed"
    text = f"{measured['median']:,.{row['digits']}f}"
    failed = measured["values"].count(None)
    if failed:
        text += f", {failed} rounds failed"
    ratios = measured["ratio"]
    if ratios is None or name == baseline:
        return text
    return f"{text} ({ratios['median']:.2f}, {ratios['min']:.2f} to {ratios['max']:.2f})"


def machine() -> str:
    info = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in info.splitlines() if "model name" in line]
    model = models[0] if models else platform.machine()
    return f"{os.cpu_count()} cores of {model}, Linux {platform.release()}"
