"""Rows of `rlpt bench --json` as a Markdown table: `python -m benchmarks.markdown benchmarks/cpu.json`."""

import json
import sys
from pathlib import Path


def table(path: Path) -> str:
    """Returns the rows in the JSON file at `path` as a table."""
    lines = ["| what | unit | rlpt | reference | ratio | spread |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for row in json.loads(path.read_text()):
        values = " | ".join(f"{row[side]:,.4g}" if row[side] < 1000 else f"{row[side]:,.0f}" for side in _SIDES)
        lines.append(f"| `{row['name']}` | {row['unit']} | {values} | {row['ratio']:,.2f} | {row['spread']:.0%} |")
    return "\n".join(lines)


_SIDES = ("ours", "reference")

if __name__ == "__main__":
    print(table(Path(sys.argv[1])))
