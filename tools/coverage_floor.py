# SPDX-License-Identifier: Apache-2.0
"""Is each file of the package run by the tests? `coverage_floor.py REPORT` reads what `coverage json` wrote."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

#: percent of a file's lines and branches
FLOOR = 90.0


def too_low(report: dict[str, Any]) -> list[tuple[float, str]]:
    """Return the files under the floor with their percentages, the lowest first."""
    files = [(data["summary"]["percent_covered"], name) for name, data in report["files"].items()]
    return sorted((percent, name) for percent, name in files if percent < FLOOR)


def main() -> None:
    """Print the figure of the package, and end with an error if a file is under the floor."""
    report = json.loads(Path(sys.argv[1]).read_text())
    low = too_low(report)
    print(f"Coverage of the package: {report['totals']['percent_covered']:.1f} %")
    for percent, name in low:
        print(f"  {percent:5.1f} % {name}")
    if low:
        sys.exit(f"Files under {FLOOR:.0f} %: {len(low)}")


if __name__ == "__main__":
    main()
