"""What the administration commands share: calls, tables, questions, times and files.

::

    commands/license.py    its actions, each with options and a function
      └── actions          finds the action, reads the options, explains what the server refuses
            └── Desk       one invocation: the server, the organization, where the answer goes
                  ├── api        calls of /v1/orgs/…, in pages, never a change twice
                  ├── output     tables for people, JSON for programs
                  └── terminal   width, colour, questions, progress
"""
