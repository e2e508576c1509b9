"""Attacks on grading, host and rewards: what ``repodrome audit`` runs."""
