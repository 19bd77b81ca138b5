"""The journal on disk: the only room that says SQL."""
