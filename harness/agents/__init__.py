"""Who plays an episode: the oracle, nop, a script, a person, a model, and third parties' agents."""
