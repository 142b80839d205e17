# SPDX-License-Identifier: Apache-2.0
"""Migrations side by side: the same guest state, moved over the same link by every contender in turn.

catalog.py says who and what, stage.py keeps the hosts and the saved guests, move.py does one move and
observe.py watches it, store.py keeps the results, schedule.py orders them, report.py and charts.py tell.
"""
