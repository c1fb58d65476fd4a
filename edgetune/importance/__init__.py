"""How strongly a trained model uses each input of its linear layers: what quantisers weigh their errors by."""
