"""`python -m rankwire` is the command line."""

from rankwire.cli import main

main()
