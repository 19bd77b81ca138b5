"""The demonstration: real processes, real payments, kills at announced instants, and the audit.

command     the command line
run         the show, then the audit, then the figures
script      what happens when
site        the processes, and what they are started with
ports       free ones
terminals   a process of many terminals: sample traffic on an open-loop schedule
crowd       those processes, as the show sees them
operators   what operators see of the switch, asked over and over
show        plays the script
witness     watches what each act brings about, and how soon
chronicle   what happened, for the screen and for the result
board       what there is to look at
screen      the board, drawn: a live table, or lines
latency     what the switch added to each payment, from the terminals' journals
verdict     the audit, run as its own process, and what it found
result      every figure of a run, each with its definition in docs/reference/demo.md
"""

from clients.demo.command import demo

__all__ = ["demo"]
