"""Rewards for how the change is written; each is 1 where nothing is to be said against it."""
