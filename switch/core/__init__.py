"""Every decision of the switch, as plain functions that are given the time."""
