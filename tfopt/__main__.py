"""`python -m tfopt` is `tfopt`."""

import sys

from tfopt.cli import main

sys.exit(main())
