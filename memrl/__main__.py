"""`python -m memrl`: the command without its script."""

import sys

from memrl.cli.main import main

sys.exit(main())
