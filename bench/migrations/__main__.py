# SPDX-License-Identifier: Apache-2.0
"""`python3 bench/migrations ...`: see cli.py."""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "lab")]
from migrations import cli  # noqa: E402

sys.exit(cli.main())
