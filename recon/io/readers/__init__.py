"""Readers of raw data, a module a format; `spinray.recon.io.reading` asks them in turn."""
