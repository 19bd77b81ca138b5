"""Load, peers and fault timelines that measure the switch."""
