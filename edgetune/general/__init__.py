"""What a model can do besides its task: questions of common sense by log-likelihood, perplexity of plain text."""
