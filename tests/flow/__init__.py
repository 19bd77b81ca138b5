"""The flow ring: the real story under virtual time."""
