"""Those who talk to the switch: they know it by its wire only."""
