"""The benchmark: ``make bench``. Each row stands beside its limit or its peer, of the same run.

The load is made by processes of its own (``load``), without any library between it and the socket,
so that it costs as little as may be of what is measured. Everything stays on the loopback.
"""
