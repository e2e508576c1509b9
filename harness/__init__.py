"""Who plays and who watches: agents, rollouts, trajectories, authoring, command line."""
