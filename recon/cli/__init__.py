"""The command line: info, recon, simulate, methods, demo."""
