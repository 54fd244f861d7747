"""The fault rig: real daemons, stores, agents and clients, things done to them, and judgement.

``history`` is what everybody wrote down, ``invariants`` and ``service`` judge it, ``plan`` says
which faults come when, ``faults`` does them, ``rig`` runs one, ``report`` tells about it.
"""
