"""``python -m lessor_daemon`` is ``lessor serve``."""

import sys

from .start import main

sys.exit(main())
