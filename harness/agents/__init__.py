"""Who plays an episode: the oracle, nop, a script, a person, and third parties' agents."""
