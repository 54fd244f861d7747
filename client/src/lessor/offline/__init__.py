"""Offline licenses on the machine they were issued for: ``lessor run --offline FILE``.

::

    opened      the file is genuine, for this machine, not expired, not returned
      ├── trust     public keys that this machine believes
      ├── clock     the time it surely is by now, also when the clock was set back
      └── returning the file given back, with a receipt
    serving     what a server is to the agent, played by the file
      └── seats     one lock for each running process, which the kernel keeps

Loaded only where an offline license is used; ``cryptography`` is needed then, too.
"""
