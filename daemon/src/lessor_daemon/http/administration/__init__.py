"""Organizations and all they hold, over HTTP: one module for each kind of thing."""
