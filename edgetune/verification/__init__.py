"""Whether an artifact is the trained model: its file, weights, prompts, distributions and answers."""
