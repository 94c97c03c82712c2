"""Which time series an expression of Prometheus reads."""

import re

import promql_parser

_SELECTOR_FREE = re.compile(r"\{[^{}]*\}|\[[^\]]*\]|\"[^\"]*\"|'[^']*'")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")
_WORD = re.compile(r"(?<![\w:])[a-zA-Z_:][a-zA-Z0-9_:]*")
_OPERATORS = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring", "group_left", "group_right"}


def series_of(expression: str) -> set[str]:
    """Names of the series; raises ValueError if the expression is none."""
    promql_parser.parse(expression)
    bare = _GROUPING.sub(" ", _SELECTOR_FREE.sub(" ", expression))
    return {
        match.group()
        for match in _WORD.finditer(bare)
        if match.group() not in _OPERATORS and not bare[match.end() :].lstrip().startswith("(")
    }
