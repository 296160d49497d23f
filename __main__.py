"""``python -m spinray``: the command line."""

from .recon.cli.main import main

main()
