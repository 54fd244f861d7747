"""One module per command; each has ``main(argv) -> exit code``. Only the one asked for is loaded."""
