"""The command line: info, recon, simulate, evaluate, methods, train, demo."""
