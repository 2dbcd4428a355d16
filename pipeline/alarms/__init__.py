"""Alarms: one episode, one alarm, with its life, its history and who did what."""
