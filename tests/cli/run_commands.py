# SPDX-License-Identifier: Apache-2.0
"""Run commands of ``airflow`` one after the other in one process: `run_commands.py COMMANDS_JSON RESULT_FILE`.

A process for each would spend most of its time on importing Airflow.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path


def main() -> None:
    """Write what each command printed; an error ends it."""
    commands, result_file = json.loads(sys.argv[1]), Path(sys.argv[2])
    from airflow.cli.cli_parser import get_parser

    printed = []
    for command in commands:
        print("airflow", *command, file=sys.stderr)
        output = StringIO()
        with redirect_stdout(output):
            arguments = get_parser().parse_args(command)
            arguments.func(arguments)
        printed.append(output.getvalue())
    result_file.write_text(json.dumps(printed))


if __name__ == "__main__":
    main()
