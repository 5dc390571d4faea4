"""Readable conditions over the axes: ``agg.m > 10 * k``, ``norm.pre == l2 and norm.inf == none``.

A condition is an expression of names, numbers, words and lists with ``and``, ``or``, ``not``, ``in``, comparisons and,
in experiment files, ``+ - * / // %`` of numbers. ``null`` equals nothing but itself, is neither smaller nor larger
than anything, and what is calculated from it is null. Nothing is executed: of the syntax tree only these parts are
understood.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from imprint_sweep.errors import ConfigError, UnknownOptionError

Vocabulary = Callable[[str], Collection[str] | None]
"""Axis -> the words that it can be compared with; None if any word will do."""

Evaluate = Callable[[Mapping[str, Any]], Any]

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}
_ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_CONSTANTS = {"null": None, "true": True, "false": False}


@dataclass(frozen=True)
class Condition:
    """A condition over axes.

    Args:
        text: as it was written.
        names: the axes that it looks at.
        evaluate: from their values to a truth value.
    """

    text: str
    names: frozenset[str]
    evaluate: Evaluate

    @classmethod
    def read(
        cls,
        text: str,
        axes: Collection[str],
        vocabulary: Vocabulary = lambda axis: None,
        *,
        arithmetic: bool = True,
        mixed: Collection[str] = (),
    ) -> Condition:
        """Read a condition.

        Args:
            text: the expression.
            axes: the names that exist.
            vocabulary: the words that make sense beside each of them.
            arithmetic: whether it may calculate with numbers; else it only compares.
            mixed: axes whose values are numbers or words; a word is neither smaller nor larger than a number.

        Raises:
            UnknownOptionError: a name that is no axis, or a word that the axis beside it never is.
            ConfigError: no expression, or one that conditions do not understand.
        """
        try:
            tree = ast.parse(text.strip(), mode="eval").body
            reader = _Reader(text, axes, vocabulary, arithmetic, mixed)
            evaluate = reader.read(tree)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            shown = text if len(text) <= 200 else f"{text[:200]}..."
            raise ConfigError(
                f"cannot read the condition {shown!r}: expected something like k >= 5 and norm.pre == l2"
            ) from error
        return cls(text, frozenset(reader.names), evaluate)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the condition holds for these values of its axes.

        Raises:
            ConfigError: it compares or calculates what cannot be compared or calculated, such as a word and a number.
        """
        try:
            return bool(self.evaluate(values))
        except (TypeError, ArithmeticError, RecursionError) as error:
            shown = ", ".join(f"{name}={values[name]!r}" for name in sorted(self.names))
            raise ConfigError(f"the condition {self.text!r} makes no sense with {shown}: {error}") from error


class _Reader:
    """Turns a syntax tree into a function of the values, and notes the axes on the way."""

    def __init__(
        self, text: str, axes: Collection[str], vocabulary: Vocabulary, arithmetic: bool, mixed: Collection[str]
    ) -> None:
        self.text, self.axes, self.vocabulary, self.arithmetic, self.mixed = text, axes, vocabulary, arithmetic, mixed
        self.names: set[str] = set()

    def read(self, node: ast.expr, words: Collection[str] | None = ()) -> Evaluate:
        """The function of one node.

        Args:
            node: the node.
            words: the words that may stand here instead of an axis; None if any may.
        """
        match node:
            case ast.BoolOp(op=op, values=operands):
                functions = [self.read(operand) for operand in operands]
                gather = all if isinstance(op, ast.And) else any
                return lambda values: gather(function(values) for function in functions)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                function = self.read(operand)
                return lambda values: not function(values)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                function = self.read(operand)
                return lambda values: None if (value := function(values)) is None else -value
            case ast.BinOp(left=left, op=op, right=right) if self.arithmetic and type(op) in _ARITHMETIC:
                return _unless_null(_of_numbers(_ARITHMETIC[type(op)]), self.read(left), self.read(right), None)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                operands = [left, *comparators]
                links = [self._comparison(*link) for link in zip(operands, ops, comparators, strict=False)]
                return lambda values: all(link(values) for link in links)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                functions = [self.read(element, words) for element in elements]
                return lambda values: [function(values) for function in functions]
            case ast.Constant(value=str(word)):
                return self._word(word, words)
            case ast.Constant(value=bool() | int() | float() | None as value):
                return lambda values: value
            case ast.Name() | ast.Attribute():
                return self._name(ast.unparse(node), words)
        raise ConfigError(
            f"the condition {self.text!r} holds {ast.unparse(node)!r}; it may hold names, numbers, words, lists, and, "
            f"or, not, in, comparisons{' and + - * / // %' if self.arithmetic else ', and no arithmetic'}"
        )

    def _comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Evaluate:
        if type(op) not in _COMPARISONS:
            raise ConfigError(f"the condition {self.text!r} uses is; write == instead")
        compare = _COMPARISONS[type(op)]
        if isinstance(op, _ORDER):
            if ast.unparse(left) in self.mixed or ast.unparse(right) in self.mixed:
                compare = _of_one_kind(compare)
            return _unless_null(compare, self.read(left), self.read(right), False)
        first, second = self.read(left, self._words_beside(right)), self.read(right, self._words_beside(left))
        return lambda values: compare(first(values), second(values))

    def _words_beside(self, node: ast.expr) -> Collection[str] | None:
        axis = ast.unparse(node)
        return self.vocabulary(axis) if axis in self.axes else ()

    def _name(self, name: str, words: Collection[str] | None) -> Evaluate:
        if name in _CONSTANTS:
            constant = _CONSTANTS[name]
            return lambda values: constant
        if name in self.axes:
            self.names.add(name)
            return lambda values: values[name]
        if words == ():
            raise UnknownOptionError(f"axis in the condition {self.text!r}:", name, self.axes)
        return self._word(name, words)

    def _word(self, word: str, words: Collection[str] | None) -> Evaluate:
        if words is not None and word not in words:
            raise UnknownOptionError(f"word in the condition {self.text!r}:", word, words)
        return lambda values: word


def _of_numbers(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Arithmetic without Python's other meanings, of which one repeats a list or a word a billion times."""

    def checked(first: Any, second: Any) -> Any:
        for value in (first, second):
            if not isinstance(value, int | float):
                raise TypeError(f"{value!r} is no number")
        return compute(first, second)

    return checked


def _of_one_kind(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A comparison that does not hold between a word and a number."""
    return lambda first, second: isinstance(first, str) == isinstance(second, str) and compare(first, second)


def _unless_null(compute: Callable[[Any, Any], Any], left: Evaluate, right: Evaluate, otherwise: Any) -> Evaluate:
    def evaluate(values: Mapping[str, Any]) -> Any:
        first, second = left(values), right(values)
        return otherwise if first is None or second is None else compute(first, second)

    return evaluate
