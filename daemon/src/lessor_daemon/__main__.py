"""``python -m lessor_daemon`` is ``lessor serve``."""

import sys

from .cli import main

sys.exit(main())
