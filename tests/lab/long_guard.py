# SPDX-License-Identifier: Apache-2.0
"""The window of test_guard.py, a hundred times."""
import os
import pathlib
import sys

os.environ.setdefault('GUARD_TRIES', '100')
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from test_guard import Window  # noqa: E402,F401

TIME_LIMIT_S = 3600
