"""Fields that are made and not drawn from a table: numbers, sums, equations, code, nonsense.

Knows how people write numbers; knows no result.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_OPERATORS = ("+", "-", "*", "x", "×", "/", "÷", "^", "mod")
_SPOKEN = ("plus", "minus", "times", "divided by", "multiplied by", "to the power of", "x", "and")
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_ENDS = ("ing", "ation", "ly", "oid", "um", "ex", "ant", "zz", "le", "ik")
# {a}, {b}: names of variables; {n}, {m}: numbers.
_SNIPPETS = (
    "print({a} + {b})",
    "for {a} in range({n}): print({a})",
    "def {a}({b}): return {b} * {n}",
    "{a} = [{n}, {m}]",
    "if {a} == {n}: {b} = {m}",
    "while True: {a} += {n}",
    "import {a}",
    "int main() { return {n}; }",
    "console.log({a});",
    "let {a} = {n};",
    "SELECT * FROM {a} WHERE {b} > {n};",
    'System.out.println("{a}");',
    "<div class='{a}'>{b}</div>",
    "{a}.sort(key=lambda {b}: -{b})",
    "git commit -m '{a}'",
    "sudo rm -rf /{a}",
    "ls -la {a} | grep {b}",
    "std::vector<int> {a}({n});",
    "fn {a}(x: i32) -> i32 { x + {n} }",
    "const {a} = await fetch({b})",
    "{a}[{n}:{m}]",
    "try: {a}() except ValueError: pass",
    "print '{a}",
    "x = lambda {a}: {a} % {n}",
    "assert {a} != {b}",
    "{{a}: {n}, {b}: {m}}",
)
_VARIABLES = (
    *("a", "b", "i", "k", "x", "y", "foo", "bar", "total", "items", "data", "user"),
    *("count", "result", "name", "value", "node", "tmp"),
)


def spoken(number: int) -> str:
    """A number below a thousand in words: 117 → "one hundred and seventeen"."""
    if number < 20:
        return _SMALL[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens - 2] + (f"-{_SMALL[ones]}" if ones else "")
    hundreds, rest = divmod(number, 100)
    return f"{_SMALL[hundreds]} hundred" + (f" and {spoken(rest)}" if rest else "")


def _number(rng: Random) -> str:
    """A number as people write it: 7, 1250, 1,250, seventeen."""
    size = rng.choice((10, 20, 100, 100, 1000, 100_000, 10_000_000))
    number = rng.randrange(size)
    if number < 1000:
        return spoken(number) if rng.random() < 0.35 else str(number)
    return f"{number:,}" if rng.random() < 0.5 else str(number)


def _sum(rng: Random) -> str:
    """Two to four numbers with operators: "7 + 12", "3.5*2", "(4-1)/6", "eight times nine"."""
    count = rng.choice((2, 2, 2, 3, 4))
    if rng.random() < 0.4:
        numbers = [spoken(rng.randrange(200)) for _ in range(count)]
        if rng.random() < 0.4:
            numbers = [str(rng.randrange(1000)) for _ in range(count)]
        return numbers[0] + "".join(f" {rng.choice(_SPOKEN)} {each}" for each in numbers[1:])
    gap = rng.choice(("", " ", " "))
    numbers = [_decimal(rng) if rng.random() < 0.15 else _digits(rng) for _ in range(count)]
    made = numbers[0] + "".join(f"{gap}{rng.choice(_OPERATORS)}{gap}{n}" for n in numbers[1:])
    return f"({made}){gap}*{gap}{_digits(rng)}" if count > 2 and rng.random() < 0.3 else made


def _digits(rng: Random) -> str:
    return str(rng.randrange(rng.choice((10, 20, 100, 1000, 10_000))))


def _decimal(rng: Random) -> str:
    return f"{rng.randrange(1000)}.{rng.randrange(1, 1000)}"


def _percent(rng: Random) -> str:
    return f"{rng.randrange(1, 100)}{rng.choice(('%', ' percent', ' per cent'))}"


def _equation(rng: Random) -> str:
    a, b, c = rng.randrange(2, 20), rng.randrange(1, 50), rng.randrange(1, 200)
    forms = (
        f"{a}x + {b} = {c}",
        f"{a}x - {b} = {c}",
        f"x/{a} = {b}",
        f"x^2 + {a}x = {c}",
        f"x^2 = {c}",
        f"{a}(x - {b}) = {c}",
        f"{a}*x={c}",
        f"{c} - x = {b}",
        f"x + y = {c} and x - y = {a}",
        f"{a}x > {b}",
    )
    return rng.choice(forms)


def _year(rng: Random) -> str:
    return str(rng.randrange(1000, 2031) if rng.random() < 0.5 else rng.randrange(1900, 2031))


def _hour(rng: Random) -> str:
    hour = rng.randrange(1, 13)
    return rng.choice((f"{hour} o'clock", f"{hour}:{rng.randrange(10, 60)}", f"{hour} pm"))


def _snippet(rng: Random) -> str:
    """A line of code."""
    made = rng.choice(_SNIPPETS)
    for field in ("{a}", "{b}"):
        made = made.replace(field, rng.choice(_VARIABLES))
    for field in ("{n}", "{m}"):
        made = made.replace(field, str(rng.randrange(100)))
    return made


def _gibberish(rng: Random) -> str:
    """Letters that mean nothing: struck at random, along a row of keys, or like a word."""
    letters, manner = "abcdefghijklmnopqrstuvwxyz", rng.randrange(3)
    if manner == 0:
        return "".join(rng.choice(letters) for _ in range(rng.randrange(4, 13)))
    if manner == 1:
        row = rng.choice(_KEYS)
        return "".join(rng.choice(row) for _ in range(rng.randrange(4, 14)))
    pairs = [rng.choice("bcdfglmnprstvz") + rng.choice("aeiou") for _ in range(rng.choice((1, 2)))]
    return "".join(pairs) + rng.choice("bdgklmnpt") + rng.choice(_ENDS)


#: Name of a field → a function that makes it.
FIELDS: dict[str, Callable[[Random], str]] = {
    "n": _number,
    "sum": _sum,
    "decimal": _decimal,
    "percent": _percent,
    "equation": _equation,
    "year": _year,
    "day": lambda rng: str(rng.randrange(1, 29)),
    "hour": _hour,
    "snippet": _snippet,
    "gibberish": _gibberish,
}
