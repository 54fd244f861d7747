"""One module per command, each with ``main(argv) -> exit code``; only one is loaded."""
