"""Measurements anyone can rerun. Spinray comes before torch: see GOMP_SPINCOUNT there."""

import spinray  # noqa: F401
