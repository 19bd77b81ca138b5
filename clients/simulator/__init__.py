"""A card processor to test against: ledger hosts, and nodes that stand before them.

    outcome     which amount ends how: the published table
    latency     how long the issuer thinks
    card        the processor's keys, and opening what is sealed to them
    message     what a node and its ledger host say to each other
    tables      the tables of a ledger's file
    ledger      the books of one ledger, durable, with its five promises
    host        the process that owns the books
    session     which link of a switch is the newest
    behaviour   how a node treats its callers: the seam for faults
    books       a node's line to its ledger host
    rule        what an item must be to be read at all
    saying      what is said for an amount in place of the ledger's answer
    stream      one link of a switch, as the node sees it
    front_end   a node: its streams, its books, its behaviour
    node        the process that a node is
    commands    the command line

Nothing is imported here, so that each process loads only what it runs.
"""
