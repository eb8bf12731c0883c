"""``python -m lbtop``."""

import sys

from lbtop.cli import main

sys.exit(main())
