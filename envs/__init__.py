"""The environment: Gymnasium face, episode, sandbox, grading, rewards."""
