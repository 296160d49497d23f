"""Spinray: MR and CT image reconstruction, from a scanner's raw file to an image."""
