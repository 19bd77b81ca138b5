"""Generate the pages that repeat what the code says, or return them for comparison.

A page that is written by hand beside a table in the code is wrong the day after. These are made
from the tables themselves; `make docs` writes them, and a test fails when one is stale.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from switch.config import Document
from switch.core.outcome import Outcome
from switch.core.response_code import CODES, OVERRIDABLE, UNKNOWN, Code, Meaning
from switch.core.transaction import FINAL, OPEN, TABLE, AttemptEvent, AttemptState, Step, diagram
from switch.errors import REASONS, Reason

Word = TypeVar("Word", bound=IntEnum)

DOCS = Path(__file__).resolve().parent


def main() -> int:
    """Write every page that is missing or stale; return the exit code."""
    for path, page in PAGES.items():
        target = DOCS / path
        fresh = page()
        if not target.exists() or target.read_text(encoding="utf-8") != fresh:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(fresh, encoding="utf-8")
            print(f"wrote docs/{path}")
    return 0


# --- the life of an attempt ----------------------------------------------------------------------


def life_cycle() -> str:
    """Return the page about the table of `switch/core/transaction.py`."""
    return page(
        """
        # The life of an attempt

        <!-- Made by `make docs` from switch/core/transaction.py. -->

        An *attempt* is one reference's life at one ledger, over one or more sendings. Outcomes
        belong to the reference and never to a sending: once one sending is in doubt, so is the
        attempt, until the ledger gives a final answer or acknowledges the reversal. The words are
        those of the [glossary](glossary.md).
        """,
        f"```mermaid\n{diagram()}```\n",
        """
        Events that leave an attempt where it is are not drawn. The table at the end has them all.

        ## States
        """,
        table(
            ("state", "is", "meaning"),
            ((f"`{s.name}`", kind_of(s), meaning_of(text)) for s, text in described(AttemptState)),
        ),
        """
        An *open* state may be found after a crash; recovery makes each an owed reversal before the
        switch takes its first payment. In a *final* one nothing more is owed.

        ## Events
        """,
        table(
            ("event", "meaning"),
            ((f"`{event.name}`", meaning) for event, meaning in described(AttemptEvent)),
        ),
        """
        ## Transitions

        An event that is not listed for a state cannot happen in it. If it does, that is a fault of
        the switch, which stops rather than guess.
        """,
        table(
            ("state", "event", "then", "note"),
            (
                (f"`{state.name}`", f"`{event.name}`", f"`{step.state.name}`", note_on(step))
                for (state, event), step in sorted(TABLE.items())
            ),
        ),
    )


def kind_of(state: AttemptState) -> str:
    """Return whether a state is open, final, or neither."""
    if state in OPEN:
        return "open"
    return "final" if state in FINAL else "owed"


def meaning_of(text: str) -> str:
    """Return a state's sentence without the word that stands in a column of its own."""
    meaning = text.removeprefix("Final: ")
    return meaning[0].upper() + meaning[1:]


def note_on(step: Step) -> str:
    """Return what is peculiar about a step."""
    if step.contradicts:
        return "late, and the ledger contradicts itself: alarm, and no more repeats there"
    return "late: noted, and no answer changes" if step.late else ""


# --- what a caller may be told -------------------------------------------------------------------


def errors() -> str:
    """Return the page about the reasons of `switch/errors.py`."""
    return page(
        """
        # Errors

        <!-- Made by `make docs` from switch/errors.py. -->

        A decline is not an error: it is an ordinary answer, with a
        [response code](response-codes.md). An error says that this call had no effect, with one
        exception: after `OUTCOME_UNKNOWN` the effect is not known, and the same request is to be
        repeated under the same `request_id`.

        Each error is a gRPC status with one `google.rpc.ErrorInfo`, whose domain is `payswitch` and
        whose reason stands below; in a frame of `AuthorizeStream` the same reason stands in a
        `Refusal`. Reasons are added and never renamed. Texts may change: show them to people, and
        decide by the reason.
        """,
        table(
            ("reason", "gRPC status", "meaning", "what the caller may do", "`RetryInfo`"),
            (
                (f"`{name}`", f"`{r.status}`", r.meaning, r.fix, delay_of(r))
                for name, r in REASONS.items()
            ),
        ),
        """
        `FIELD_INVALID` carries a `google.rpc.BadRequest` that names each field at fault. The delay
        in `RetryInfo` is the one above, unless the switch knows a better one.
        """,
    )


def delay_of(reason: Reason) -> str:
    """Return the delay that a reason is sent with."""
    return "" if reason.retry_after_s is None else f"{reason.retry_after_s:g} s"


# --- response codes ------------------------------------------------------------------------------


MONEY = {
    Meaning.APPROVED: "approved",
    Meaning.PARTIAL: "approved in part",
    Meaning.DECLINED: "declined",
    Meaning.TECHNICAL: "technical: no decision, no money",
    Meaning.WAIT: "undecided: asked again, in doubt at the deadline",
    Meaning.IN_DOUBT: "in doubt",
}
NODE = {
    Outcome.SUCCESS: "success",
    Outcome.SOFT: "half a failure",
    Outcome.TECHNICAL: "failure",
    Outcome.IN_DOUBT: "failure",
    Outcome.LOCAL: "nothing",
}


def response_codes() -> str:
    """Return the page about the table of `switch/core/response_code.py`."""
    return page(
        """
        # Response codes

        <!-- Made by `make docs` from switch/core/response_code.py. -->

        What the switch reads out of DE 39 of ISO 8583. Three questions are kept apart: what became
        of the money, whether the same sale may be tried at another ledger, and what the answer says
        about the node that gave it. A decline is a success of the node.

        The advice is what a terminal gets as `RETRY_ADVICE_…`.
        """,
        table(
            ("code", "text", "the money", "another ledger", "for the node", "advice"),
            [
                *(code_row(f"`{code}`", row) for code, row in sorted(CODES.items())),
                code_row("any other", UNKNOWN),
            ],
        ),
        f"""
        ## What a processor may mean otherwise

        Some processors promise that a code means "not posted". Their profile may say so:

        ```toml
        [processors.acme.codes]
        "91" = "technical"
        ```

        There is a choice of {", ".join(f"`{name}`" for name in OVERRIDABLE)}. After `technical`
        the sale may be tried at another ledger, after the others never. No code can be made an
        approval, and no approval can be made anything else.
        """,
    )


def code_row(name: str, code: Code) -> Sequence[str]:
    """Return a line of the table of codes."""
    elsewhere = code.other_ledger and code.meaning is Meaning.TECHNICAL
    return (
        name,
        code.text,
        MONEY[code.meaning],
        "yes" if elsewhere else "no",
        NODE[code.outcome],
        f"`{code.advice.name}`",
    )


# --- the configuration ---------------------------------------------------------------------------


def configuration() -> str:
    """Return the page about the tables of `switch/config.py`."""
    return page(
        """
        # The configuration

        <!-- Made by `make docs` from switch/config.py. -->

        One TOML file. `payswitch config check FILE` says what is wrong with it, key by key, and
        which key was probably meant; the switch does not start before nothing is. Times are in
        seconds. Only the keys without a default must be there; `NAME` is a name of your own.
        """,
        *(part for path, kind in tables_of(Document, "") for part in table_page(path, kind)),
    )


def tables_of(kind: Any, path: str) -> Iterable[tuple[str, Any]]:
    """Return every table of the document below `kind`, with its path."""
    yield path, kind
    for name, hint in get_type_hints(kind).items():
        below = f"{path}.{name}".lstrip(".")
        if is_dataclass(hint):
            yield from tables_of(hint, below)
        elif get_args(hint) and is_dataclass(entry := get_args(hint)[-1]):
            yield from tables_of(entry, below + (".NAME" if get_origin(hint) is dict else ".[]"))


def table_page(path: str, kind: Any) -> Iterable[str]:
    """Return the heading of a table, what it is for, and its keys."""
    head = f"## `{path_in_toml(path)}`" if path else "## At the top"
    yield f"{head}\n\n{(inspect.getdoc(kind) or '').splitlines()[0]}\n"
    hints = get_type_hints(kind)
    texts = sentences_of(kind)
    rows = [
        (f"`{each.name}`", kind_in_toml(hints[each.name]), default_of(each), texts[each.name])
        for each in fields(kind)
        if not is_dataclass(hints[each.name])
    ]
    if rows:
        yield table(("key", "kind", "default", "meaning"), rows)


def path_in_toml(path: str) -> str:
    """Return a table's path as the file has it."""
    if path.endswith(".[]"):
        return f"[[{path.removesuffix('.[]')}]]"
    return f"[{path}]"


def kind_in_toml(hint: object) -> str:
    """Return what a value is called in TOML."""
    if hint in KINDS:
        return KINDS[hint]
    inner = [KINDS.get(each, "table") for each in get_args(hint) if each is not type(None)]
    if get_origin(hint) is list:
        return f"array of {inner[0]}s"
    return f"table of {inner[-1]}s" if get_origin(hint) is dict else inner[0]


KINDS: dict[object, str] = {
    bool: "boolean",
    int: "integer",
    float: "float",
    str: "string",
    datetime: "date and time",
}


def default_of(each: Field[object]) -> str:
    """Return a key's default as the file would have it."""
    if each.default is MISSING:
        return "none" if each.default_factory is MISSING else "empty"
    if isinstance(each.default, bool):
        return f"`{str(each.default).lower()}`"
    if isinstance(each.default, str):
        return f'`"{each.default}"`' if each.default else "empty"
    return "left out" if each.default is None else f"`{each.default}`"


def sentences_of(kind: Any) -> dict[str, str]:
    """Return the sentence that stands below each field in its source, by name."""
    (written,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(written, ast.ClassDef)
    found = {}
    for field, text in zip(written.body, written.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            found[ast.unparse(field.target)] = " ".join(ast.literal_eval(text.value).split())
    return found


# --- pages ---------------------------------------------------------------------------------------


def page(*parts: str) -> str:
    """Return the parts as one text, each without its indent, an empty line between them."""
    return "\n".join(textwrap.dedent(part).strip("\n") + "\n" for part in parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)


def described(words: type[Word]) -> list[tuple[Word, str]]:
    """Return the words of an enumeration with the sentence that stands below each in its source."""
    (written,) = ast.parse(textwrap.dedent(inspect.getsource(words))).body
    assert isinstance(written, ast.ClassDef)
    found = []
    for word, text in zip(written.body, written.body[1:], strict=False):
        if isinstance(word, ast.Assign) and isinstance(text, ast.Expr):
            name = ast.unparse(word.targets[0])
            found.append((words[name], " ".join(ast.literal_eval(text.value).split())))
    assert len(found) == len(words), "every word has its sentence"
    return found


PAGES: dict[str, Callable[[], str]] = {
    "life-cycle.md": life_cycle,
    "reference/configuration.md": configuration,
    "reference/errors.md": errors,
    "reference/response-codes.md": response_codes,
}


if __name__ == "__main__":
    sys.exit(main())
