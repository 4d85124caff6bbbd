"""Constructed problems on which the sources' theorems and formulas can be measured.

Each study has its question, its budget and the rule that judges it in `plans.py`,
written before its first run; the module named after it computes it.
"""
