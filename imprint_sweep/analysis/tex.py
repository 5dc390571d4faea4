"""Plain text in LaTeX: what means something there is escaped, what pdflatex does not know as UTF-8 is spelt out."""

from __future__ import annotations

import re

from imprint_sweep.wording import visible

_SYMBOLS = (
    *("α alpha", "β beta", "γ gamma", "δ delta", "ε epsilon", "ζ zeta", "η eta", "θ theta", "κ kappa", "λ lambda"),
    *("μ mu", "ν nu", "ξ xi", "π pi", "ρ rho", "σ sigma", "τ tau", "φ phi", "χ chi", "ψ psi", "ω omega", "Γ Gamma"),
    *("Δ Delta", "Θ Theta", "Λ Lambda", "Π Pi", "Σ Sigma", "Φ Phi", "Ψ Psi", "Ω Omega", "± pm", "× times", "· cdot"),
    *("≤ leq", "≥ geq", "≠ neq", "≈ approx", "→ rightarrow", "∞ infty", "√ surd", "∈ in"),
)

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    **{character: f"\\{character}" for character in "{}$&%#_"},
    # In TeX's own encoding these are other characters.
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\textasciigrave{}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "…": r"\ldots{}",
    "\N{NO-BREAK SPACE}": "~",
    "\N{NARROW NO-BREAK SPACE}": r"\,",
    "−": "$-$",
    **{character: rf"$\{name}$" for character, name in map(str.split, _SYMBOLS)},
    **{character: rf"\textsuperscript{{{digit}}}" for digit, character in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{character: rf"\textsubscript{{{digit}}}" for digit, character in enumerate("₀₁₂₃₄₅₆₇₈₉")},
}


def escaped(text: str) -> str:
    r"""Text as LaTeX sets it, in any font encoding.

    >>> escaped("cov_max & 50 %, k ≤ 20")
    'cov\\_max \\& 50 \\%, k $\\leq$ 20'
    """
    # Two hyphens would become a dash.
    return "".join(_ESCAPED.get(character, character) for character in visible(text)).replace("--", "-{}-")


def number(text: str) -> str:
    r"""A number as a reader sees it, in mathematics where it has a sign or a power of ten.

    >>> number("1,234"), number("−0.5"), number("7.1e-15")
    ('1,234', '$-0.5$', '$7.1 \\times 10^{-15}$')
    """
    if not re.fullmatch(r"[−0-9.,∞]+(e-?[0-9]+)?", text) or not re.search("[−∞e]", text):
        return escaped(text)
    text = text.replace("−", "-").replace("∞", r"\infty").replace(",", "{,}")
    return "$" + re.sub("e(-?[0-9]+)", r" \\times 10^{\1}", text) + "$"


def bold(written: str) -> str:
    """What :func:`escaped` or :func:`number` wrote, in bold."""
    return rf"{{\boldmath{written}}}" if written.startswith("$") else rf"\textbf{{{written}}}"
