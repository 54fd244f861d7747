"""``lessor run``: a command runs only while it holds a seat.

Two small processes watch each other. The *agent* is the pid the user started: it speaks with the
server, takes the signals and says what happens. The *leash* is its child and the parent of the
command: it knows the deadline and stops the whole tree by then, whatever became of the agent.

::

    agent ──fork, before anything heavy is loaded──▶ leash ──fork, exec──▶ the command's tree
      │  one socket pair: orders and acknowledgements, see ``wire``  │
      └── leash gone or frozen: kills the tree itself, exit 125      └── agent gone: stops the tree,
                                                                         gives the seat back

``watch`` decides when a tree is asked and when it is killed, as pure functions of time; both
processes follow it. What is loaded here is loaded at every start of a test process: modules keep
away from ``typing``, ``dataclasses``, ``subprocess``, ``logging``, ``json`` and ``re``.
"""
