"""Three ledgers written by hand: consistent stories, in which a test then plants a lie."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import apsw

from clients.audit.__main__ import judge
from clients.audit.evidence import Key
from clients.audit.report import Report
from clients.simulator import tables

MIGRATIONS = Path(__file__).resolve().parents[2] / "switch" / "store" / "sqlite" / "migrations"
PRIMARY, BACKUP = "acme-1", "acme-2"


class Ledgers:
    """A terminals' journal, a switch's journal, and the ledgers of two processors."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.terminals = folder / "terminals.jsonl"
        self.orders = folder / "orders.jsonl"
        self.files = {name: folder / f"{name}.db" for name in ("switch", "acme", "zeta")}
        self.lines: list[dict[str, Any]] = []
        self.databases = {name: apsw.Connection(str(path)) for name, path in self.files.items()}
        for database in self.databases.values():
            database.execute("PRAGMA synchronous = OFF")
        for file in sorted(MIGRATIONS.glob("*.pre.sql")):
            self.databases["switch"].execute(file.read_text(encoding="utf-8"))
        for name in ("acme", "zeta"):
            self.databases[name].execute(tables.SCHEMA)
            self.databases[name].execute("INSERT INTO ledger VALUES (?, 1)", (name,))
            for node in (f"{name}-1", f"{name}-2"):
                self.insert(
                    name, "session", node=node, switch_id="s", epoch=1, session=1, opened_at=1
                )
        self._numbers = count(1)

    # --- writing

    def insert(self, database: str, table: str, **values: object) -> None:
        """Insert a row, with something harmless in each column that was not named."""
        file = self.databases[database]
        columns = file.execute(
            'SELECT name, type, "notnull", dflt_value FROM pragma_table_info(?)', (table,)
        )
        for name, kind, notnull, default in list(columns):
            if notnull and default is None and name not in values and name != "number":
                values[name] = {"TEXT": "", "INTEGER": 0, "BLOB": b""}[kind]
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join("?" for _ in values)
        file.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', tuple(values.values()))  # noqa: S608 - names of ours

    def run(self, database: str, sql: str, *values: object) -> None:
        """Run SQL that changes at least one row."""
        file = self.databases[database]
        before = file.total_changes()
        file.execute(sql, values)
        assert file.total_changes() > before, sql

    def change(
        self, database: str, table: str, change: str, request_id: object, *values: object
    ) -> None:
        """Change what a table says of a payment; the change's values are ?2 and on."""
        sql = f'UPDATE "{table}" SET {change} WHERE request_id = ?1'  # noqa: S608 - names of ours
        self.run(database, sql, request_id, *values)

    def damage(self, database: str, table: str, change: str, random: Random) -> None:
        """Change one row of a table, or delete it; rules of the table do not hold that up."""
        file = self.databases[database]
        file.execute("PRAGMA ignore_check_constraints = ON")
        name = {"authorization": "reference", "reversal": "reversal_reference"}.get(table)
        name = name or "request_id"
        verb = f'UPDATE "{table}" SET {change}' if change else f'DELETE FROM "{table}"'  # noqa: S608 - names of ours
        (key,) = random.choice(list(file.execute(f'SELECT {name} FROM "{table}"')))  # noqa: S608 - names of ours
        self.run(database, f"{verb} WHERE {name} = ?", key)

    def line(self, event: str, key: Key, **fields: object) -> None:
        """Append a line to the terminals' journal."""
        self.lines.append(
            {"event": event, "terminal_id": key.terminal_id, "request_id": key.request_id, **fields}
        )

    def new_key(self) -> Key:
        """Return a payment nobody knows yet."""
        number = next(self._numbers)
        return Key(f"T-{number % 7}", str(UUID(int=0x7 << 76 | 2 << 62 | number)))

    # --- telling stories

    def call(
        self, key: Key, amount: int, currency: str, name: str = "1", **contents: object
    ) -> None:
        """A terminal intends and sends."""
        fields = {
            "amount_minor": amount,
            "currency": currency,
            "kind": "purchase",
            "bin": "41111111",
            "last_four": "1111",
            "merchant_id": "M-1",
        }
        self.line("intended", key, call=name, **fields | contents)
        self.line("sent", key, call=name, send=1)

    def answer(
        self,
        key: Key,
        outcome: str,
        code: str,
        approved: int = 0,
        currency: str = "EUR",
        authorization_code: str = "",
        name: str = "1",
    ) -> None:
        """A terminal hears an answer."""
        self.line(
            "answered",
            key,
            call=name,
            outcome=outcome,
            code=code,
            approved_amount_minor=approved,
            approved_currency=currency,
            authorization_code=authorization_code,
        )

    def row(self, key: Key, amount: int, currency: str, **values: object) -> None:
        """The switch's journal has the payment."""
        asked = {
            "terminal_id": key.terminal_id,
            "request_id": raw(key),
            "state": 2,
            "kind": 1,
            "amount_minor": amount,
            "currency": currency,
            "bin": "41111111",
            "last_four": "1111",
            "merchant_id": "M-1",
        }
        self.insert("switch", "payments", **asked | values)

    def attempt(self, key: Key, state: int, *, ordinal: int = 1, **values: object) -> bytes:
        """The switch's journal has an attempt; return its reference. The last one is number 1."""
        ledger = str(values.setdefault("ledger", "acme"))
        reference = reference_of(key, ordinal)
        values.setdefault("node", f"{ledger}-1")
        said = {"ordinal": ordinal, "reference": reference, "attempt_state": state, **values}
        if ordinal == 1:
            for name, value in said.items():
                self.change("switch", "payments", f'"{name}" = ?2', raw(key), value)
        else:
            payment = {"terminal_id": key.terminal_id, "request_id": raw(key)}
            self.insert("switch", "earlier_attempts", **payment, **said)
        return reference

    def entry(
        self,
        key: Key,
        reference: bytes,
        state: str,
        amount: int,
        currency: str,
        said: Mapping[str, object],
        *,
        ledger: str = "acme",
        node: str = PRIMARY,
    ) -> None:
        """The processor's ledger has the authorization, and how it came there."""
        self.insert(
            ledger,
            "authorization",
            reference=reference,
            state=state,
            terminal_id=key.terminal_id,
            request_id=key.request_id,
            amount_minor=amount,
            currency=currency,
            **said,
        )
        self.delivery(reference, ledger=ledger, node=node)

    def delivery(self, reference: bytes, *, ledger: str = "acme", **values: object) -> None:
        """An authorization reached the ledger."""
        fields: dict[str, object] = {
            "kind": "authorization",
            "reference": reference,
            "node": PRIMARY,
            "switch_id": "s",
            "epoch": 1,
            "session": 1,
            "frame_number": 7,
            "repeat": 0,
            "disposition": "PROCESSED",
            "at": 100,
        }
        self.insert(ledger, "delivery", **fields | values)

    def approve(self, amount: int = 1250, currency: str = "EUR", *, told: bool = True) -> Key:
        """A payment that went well; untold, its terminal never heard of it."""
        key = self.new_key()
        self.call(key, amount, currency)
        said = {"response_code": "00", "approved_minor": amount, "authorization_code": "A1"}
        self.row(key, amount, currency, approved=1, **said)
        reference = self.attempt(key, 4, approved_minor=amount, node_answer_code="00")
        self.entry(key, reference, "live", amount, currency, said)
        if told:
            self.answer(key, "approved", "00", amount, currency, "A1")
        return key

    def decline(self, amount: int = 1250, currency: str = "EUR", code: str = "51") -> Key:
        """A payment that the issuer declined."""
        key = self.new_key()
        self.call(key, amount, currency)
        self.row(key, amount, currency, approved=0, response_code=code)
        reference = self.attempt(key, 5, node_answer_code=code)
        self.entry(key, reference, "declined", amount, currency, {"response_code": code})
        self.answer(key, "declined", code, 0, currency)
        return key

    def doubt(
        self,
        amount: int = 1250,
        currency: str = "EUR",
        *,
        acknowledged: bool = True,
        why: str = "expired",
    ) -> Key:
        """A payment whose node never answered: declined with 91, and reversed."""
        key = self.new_key()
        self.call(key, amount, currency)
        self.row(key, amount, currency, approved=0, response_code="91")
        reference = self.attempt(
            key, 9 if acknowledged else 8, doubted=1, doubted_why=why, closed_why=why
        )
        said = {"response_code": "00", "approved_minor": amount, "authorization_code": "A1"}
        self.entry(key, reference, "live", amount, currency, said)
        self.answer(key, "declined", "91", 0, currency)
        self.owe(key, reference, amount, currency, acknowledged=acknowledged)
        return key

    def refuse(self, amount: int = 1250, currency: str = "EUR", status: str = "UNAVAILABLE") -> Key:
        """A payment that the switch refused."""
        key = self.new_key()
        self.call(key, amount, currency)
        self.line("failed", key, call="1", send=1, status=status, reason="NO_NODE_READY")
        self.line("refused", key, call="1", status=status, reason="NO_NODE_READY")
        return key

    def reverse(self, amount: int = 1250, currency: str = "EUR", *, part: int | None = None) -> Key:
        """An approved payment that its terminal then reversed, wholly or in part."""
        key = self.approve(amount, currency)
        wish = self.new_key()._replace(terminal_id=key.terminal_id)
        back = amount if part is None else part
        original = {"original_request_id": key.request_id}
        self.line("reversal_intended", wish, amount_minor=part, **original)
        self.line("reversal_sent", wish)
        self.line("reversal_answered", wish, reversal="owed", reversed_amount_minor=back)
        self.insert(
            "switch",
            "terminal_reversals",
            request_id=raw(wish),
            terminal_id=wish.terminal_id,
            original_request_id=raw(key),
            original_terminal_id=key.terminal_id,
        )
        self.owe(key, reference_of(key), back, currency, full=part is None)
        return key

    def owe(
        self,
        key: Key,
        reference: bytes,
        amount: int,
        currency: str,
        *,
        full: bool = True,
        acknowledged: bool = True,
    ) -> None:
        """The switch owes a reversal, and the ledger acknowledges it."""
        reversal_reference = sha256(b"reversal" + reference).digest()[:16]
        self.insert(
            "switch",
            "reversals",
            terminal_id=key.terminal_id,
            request_id=raw(key),
            reversal_reference=reversal_reference,
            ordinal=1,
            reference=reference,
            ledger="acme",
            in_full=full,
            amount_minor=amount,
            currency=currency,
            acknowledged_ms=5 if acknowledged else None,
        )
        if not acknowledged:
            return
        self.insert(
            "acme",
            "reversal",
            reversal_reference=reversal_reference,
            reference=reference,
            full=full,
            asked_minor=amount,
            currency=currency,
            reversed_minor=amount,
            disposition="PROCESSED",
        )
        self.delivery(reference, kind="reversal", reversal_reference=reversal_reference)
        self.run(
            "acme",
            'UPDATE "authorization" SET reversed_minor = reversed_minor + ?1, state = '
            "iif(reversed_minor + ?1 = approved_minor, 'reversed', 'live') WHERE reference = ?2",
            amount,
            reference,
        )

    # --- judging

    def save(self) -> None:
        """Write the lines out; the databases are written as they stand."""
        text = "".join(json.dumps(line) + "\n" for line in self.lines)
        self.terminals.write_text(text, encoding="utf-8")

    def close(self) -> None:
        """Close the databases."""
        for database in self.databases.values():
            database.close()

    def judge(self) -> Report:
        """Audit what stands."""
        self.save()
        orders = [self.orders] if self.orders.exists() else []
        ledgers = [self.files["acme"], self.files["zeta"]]
        return judge([self.terminals], self.files["switch"], ledgers, orders)

    def arguments(self, *more: str) -> Sequence[str]:
        """Return the audit's arguments for these files."""
        self.save()
        files = {name: str(path) for name, path in self.files.items()}
        return [
            *("--terminals", str(self.terminals), "--switch", files["switch"]),
            *("--ledger", files["acme"], files["zeta"], *more),
        ]


def raw(key: Key) -> bytes:
    """Return a request_id as the switch stores it."""
    return UUID(key.request_id).bytes


def reference_of(key: Key, ordinal: int = 1) -> bytes:
    """Return the reference of a payment's attempt."""
    return sha256(f"{key}/{ordinal}".encode()).digest()[:16]
