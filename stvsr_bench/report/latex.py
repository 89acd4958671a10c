"""LaTeX tables with booktabs: best bold, second best underlined."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from stvsr_bench.report.leaderboard import Leaderboard
from stvsr_bench.report.pivot import Pivot, pivots

_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "'": r"\textquotesingle{}",
    # After «\\» a bare bracket or star would be read as its argument.
    "[": "{[}", "]": "{]}", "*": "{*}",
    "–": "--", "−": "$-$", "·": r"$\cdot$", "×": r"$\times$", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
    "\n": " ",
}  # fmt: skip


def escape_latex(text: str) -> str:
    """Return ``text`` as LaTeX that prints it, also at the start of a table row.

    Quotes need the T1 encoding or a Unicode engine, ``'`` the ``textcomp`` symbols that LaTeX has had since 2020.

    >>> print(escape_latex("vid4[first31] 50%_x"))
    vid4{[}first31{]} 50\\%\\_x
    """
    # Two hyphens in a name must not become a dash.
    return "-{}-".join("".join(_ESCAPES.get(c, c) for c in part) for part in text.split("--"))


def to_latex(board: Leaderboard, metrics: Sequence[str] | None = None) -> str:
    """Return one ``table`` per setting; it needs ``\\usepackage{booktabs}``.

    Args:
        board: the leaderboard.
        metrics: ids to show, in this order; default: all.

    Raises:
        UnknownNameError: a metric is not known.
    """
    head = "% Needs \\usepackage[T1]{fontenc} and \\usepackage{booktabs}. Best bold, second best underlined.\n"
    return head + "\n".join(_table(pivot) for pivot in pivots(board, metrics))


def _table(pivot: Pivot) -> str:
    first = ["method", *(["seed"] if pivot.has_seeds else []), "clips"]
    top = [""] * len(first)
    rules: list[str] = []
    position = len(first) + 1
    for title, group in groupby(pivot.columns, key=lambda column: column.title):
        width = len(list(group))
        top.append(rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(title)}}}")
        rules.append(rf"\cmidrule(lr){{{position}-{position + width - 1}}}")
        position += width
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{escape_latex(pivot.title)}. Mean over clips.}}",
        rf"\begin{{tabular}}{{l{'r' * (len(first) - 1 + len(pivot.columns))}}}",
        r"\toprule",
        " & ".join(top) + r" \\",
        *rules,
        " & ".join(first + [column.frames for column in pivot.columns]) + r" \\",
        r"\midrule",
    ]
    for line in pivot.lines:
        marks = rf"\textsuperscript{{{line.marks}}}" if line.marks else ""
        cells = [escape_latex(line.name) + marks, *([str(line.seed)] if pivot.has_seeds else []), line.clips]
        for column in pivot.columns:
            text, place = escape_latex(line.text(column)), pivot.place(line, column)
            cells.append({1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}", None: text}[place])
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = pivot.notes()
    if notes:
        lines += ["", r"{\footnotesize " + escape_latex(". ".join(notes)) + ".}"]
    return "\n".join([*lines, r"\end{table}", ""])
