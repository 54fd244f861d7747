"""Which server holds the data: one address, the master that Sentinel names, or a slot's owner.

A master that was replaced may go on answering for as long as it pleases. Behind Sentinel and
Cluster a daemon therefore believes only what a majority has confirmed not long ago
(``confirmation.py``), and only replies that came in time (``../store.py``).
"""
