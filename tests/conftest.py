"""What every ring of the tests shares: how Hypothesis searches."""

import os

from hypothesis import settings

# A gate gives the same answer twice: it draws the same examples each time. Looking for new ones is
# a search, run by hand: HYPOTHESIS_PROFILE=search.
settings.register_profile("gate", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=10_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))
