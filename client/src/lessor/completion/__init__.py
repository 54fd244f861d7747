"""Shell completion: ``words`` finds what can be completed, ``shells`` writes it as scripts.

The scripts are static: completing starts no Python and asks no server.
"""
