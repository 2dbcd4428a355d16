"""Positions and readings: clean → fold → store."""
