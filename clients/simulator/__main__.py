"""``python -m clients.simulator``: the simulator's command line without the switch's."""

import sys

from clients.simulator.commands import main

if __name__ == "__main__":
    main(sys.argv[1:])
