"""Judge three ledgers that were written apart: the terminals', the switch's, the processors'.

A process of its own, read-only, that shares no code with what it judges: it reads the files by its
own SQL, puts every payment together again by (terminal_id, request_id), and compares to the cent.
What each counter means stands in docs/reference/audit.md.
"""
