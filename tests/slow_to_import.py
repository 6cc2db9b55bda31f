"""A module that takes a while to be imported, as a heavy library does on a slow machine."""

import time

time.sleep(0.5)
