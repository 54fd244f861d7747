"""``lessor doctor``: each hop on the way to a seat, tested on its own, and whom to ask for what.

``way`` tests the network (DNS, TCP, proxy, TLS, HTTP, clock), ``service`` what Lessor says (store,
key, license). Later hops are not tried where an earlier one fails: their failure would say nothing.
"""
