"""What Spinray and its peers do on the same work: speed, memory, error, image quality.

``spinray bench`` runs the suites and draws one page; studies with figures of the README are
modules of their own (``python -m benchmarks.NAME`` in a clone).
"""
